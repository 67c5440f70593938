"""The simulated sensors err as real ones do, always in the same way for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from dart_ros.errors import RecordingError
from dart_ros.simulation.sensor_noise import SensorNoise
from dart_ros.simulation.sensors import PROFILES

SENSORS = sorted(PROFILES)
GRAY = np.full((240, 320, 3), 140, np.uint8)


def wall(distance: float) -> np.ndarray:
    return np.full((240, 320), distance, np.float32)


@pytest.mark.parametrize("sensor", SENSORS)
def test_the_same_index_gives_the_same_noise(sensor: str) -> None:
    depth = wall(3.0)
    one, other = SensorNoise(sensor, 7), SensorNoise(sensor, 7)
    other.depth(depth, GRAY, (1, 1))
    np.testing.assert_array_equal(one.depth(depth, GRAY, (4, 2)), other.depth(depth, GRAY, (4, 2)))
    np.testing.assert_array_equal(one.color(GRAY, (4, 2)), other.color(GRAY, (4, 2)))
    for index in ((4, 3), (5, 2)):
        assert (one.depth(depth, GRAY, index) != one.depth(depth, GRAY, (4, 2))).any()
        assert (one.color(GRAY, index) != one.color(GRAY, (4, 2))).any()
    assert (SensorNoise(sensor, 8).color(GRAY, (4, 2)) != one.color(GRAY, (4, 2))).any()
    assert (depth == 3.0).all() and (GRAY == 140).all()


@pytest.mark.parametrize("sensor", SENSORS)
def test_noise_grows_with_distance_as_the_profile_says(sensor: str) -> None:
    profile = PROFILES[sensor]
    noise = SensorNoise(sensor, 0)
    for distance in (1.0, 2.0, 4.0):
        result = noise.depth(wall(distance), GRAY, (0,))
        known = result > 0
        assert known.mean() > 0.97
        step = profile.quantum * distance**2
        # Rounding to steps adds the variance of a uniform distribution.
        expected = np.hypot(profile.noise + profile.noise_z2 * distance**2, step / 12**0.5)
        assert result[known].std() == pytest.approx(expected, rel=0.25)
        assert result[known].mean() == pytest.approx(distance, abs=0.3 * expected + 0.001)


def test_structured_light_knows_few_depths() -> None:
    result = SensorNoise("structured_light", 0).depth(wall(4.0), GRAY, (0,))
    steps = np.diff(np.unique(result[result > 0]))
    assert steps.min() > 0.03


@pytest.mark.parametrize("sensor", SENSORS)
def test_the_projector_does_not_see_behind_near_things(sensor: str) -> None:
    depth = wall(4.0)
    depth[60:180, 100:200] = 1.5
    result = SensorNoise(sensor, 0).depth(depth, GRAY, (0,))
    unknown = result < 0
    width = PROFILES[sensor].shadow * 0.5 * (1 / 1.5 - 1 / 4.0)
    right = unknown[80:160, 205:230].sum(axis=1).mean()
    left = unknown[80:160, 70:95].sum(axis=1).mean()
    assert left < 1
    assert width - 7 < right < width + 3


@pytest.mark.parametrize("sensor", SENSORS)
def test_black_far_and_unknown_things_give_no_depth(sensor: str) -> None:
    black = GRAY.copy()
    black[100:140] = 0
    noise = SensorNoise(sensor, 0)
    result = noise.depth(wall(3.5), black, (0,))
    lost = (result[105:135] < 0).mean()
    assert lost > (result[:90] < 0).mean() + 0.3 * PROFILES[sensor].dark
    assert (noise.depth(wall(12.0), GRAY, (0,)) == -1.0).all()
    assert (noise.depth(wall(-1.0), GRAY, (0,)) == -1.0).all()


def test_time_of_flight_mixes_depths_at_edges() -> None:
    depth = wall(4.0)
    depth[:, :160] = 2.0
    result = SensorNoise("time_of_flight", 0).depth(depth, GRAY, (0,))
    between = (result > 2.2) & (result < 3.8)
    assert not between[:, :150].any() and not between[:, 170:].any()
    assert between[:, 150:170].any()


def test_color_noise() -> None:
    result = SensorNoise("stereo", 0).color(GRAY, (0,)).astype(float)
    assert 2.0 < result.std() < 3.0
    assert abs(result.mean() - 140) < 4
    white = np.full((20, 20, 3), 255, np.uint8)
    assert SensorNoise("stereo", 0).color(white, (0,)).min() > 235  # saturates, never wraps


def test_unknown_sensor() -> None:
    with pytest.raises(RecordingError, match=r"sonar.*structured_light"):
        SensorNoise("sonar", 0)
