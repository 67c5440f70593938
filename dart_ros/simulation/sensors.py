"""Kinds of depth sensors: how each errs in playback and in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class SensorProfile:
    """How a kind of depth sensor errs; lengths in metres, z is the distance in metres.

    Attributes:
        noise: standard deviation at short distance.
        noise_z2: what grows of it with z² (1/m).
        noise_grain: size of a grain of noise in pixels; matching windows correlate neighbours.
        quantum: step of the inverse depth (1/m), 0 for none; the step in depth is quantum·z².
        shadow: focal length times baseline (m·px at 640 pixels width); the shadow beside an edge
            is shadow·(1/near - 1/far) pixels wide.
        halo: pixels by which near objects grow at the most.
        mixing: whether pixels at edges get depths between near and far (flying pixels).
        dark: probability of losing a black pixel.
        grazing: probability of losing a pixel of a surface seen edge-on.
        offset: pixels (at 640 width) between color and depth.
        reach: distance from which on nothing is known.
    """

    noise: float
    noise_z2: float
    noise_grain: int
    quantum: float
    shadow: float
    halo: int
    mixing: bool
    dark: float
    grazing: float
    offset: float
    reach: float


PROFILES = {
    "structured_light": SensorProfile(
        noise=0.001,
        noise_z2=0.0015,
        noise_grain=2,
        quantum=0.0028,
        shadow=40.0,
        halo=2,
        mixing=False,
        dark=0.5,
        grazing=0.9,
        offset=1.5,
        reach=8.0,
    ),
    "stereo": SensorProfile(
        noise=0.001,
        noise_z2=0.0025,
        noise_grain=6,
        quantum=0.0008,
        shadow=22.0,
        halo=3,
        mixing=False,
        dark=0.15,
        grazing=0.7,
        offset=1.0,
        reach=8.0,
    ),
    "time_of_flight": SensorProfile(
        noise=0.003,
        noise_z2=0.0004,
        noise_grain=1,
        quantum=0.0,
        shadow=8.0,
        halo=1,
        mixing=True,
        dark=0.35,
        grazing=0.8,
        offset=1.0,
        reach=5.5,
    ),
}
"""Of :mod:`dart_ros.simulation.sensor_noise`."""


class SensorKind(NamedTuple):
    """How a kind of depth sensor errs.

    ``noise`` and ``step`` are ranges of the noise's deviation and of the quantisation, both over
    z² (1/m). The rest says how often a frame has an error at all: a ``shadow`` beside people, the
    scene's edges ``mixed`` of near and far, a ``drift``, and holes on what is ``dark``, seen at a
    ``steep`` angle or ``far`` away.
    """

    noise: tuple[float, float]
    step: tuple[float, float]
    shadow: float
    mixed: float
    drift: float
    dark: float
    steep: float
    far: float


SENSORS = {
    "structured_light": SensorKind((0.001, 0.003), (0.001, 0.003), 0.9, 0.4, 0.6, 0.3, 0.6, 0.3),
    "stereo": SensorKind((0.0015, 0.004), (0.0003, 0.001), 0.8, 0.4, 0.5, 0.15, 0.4, 0.2),
    "time_of_flight": SensorKind((0.0007, 0.0015), (0.0003, 0.0004), 0.4, 0.7, 0.7, 0.45, 0.5, 0.5),
}
"""Of :mod:`dart_ros.simulation.depth_sensor`."""
