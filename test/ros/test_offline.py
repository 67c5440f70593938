"""The mattes of `dart-ros matte` are those that the real node publishes for the same frames."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from robot import (
    HEIGHT,
    PATIENCE,
    WIDTH,
    NodeProcess,
    Robot,
    View,
    empty_view,
    occupied_view,
    pixels_of,
)
from sensor_msgs.msg import Image

from dart_ros import cli
from dart_ros.msg import Status
from dart_ros.session.predictor import Predictor
from dart_ros.session.recording import open_recording
from dart_ros.session.scene_store import SceneStore
from dart_ros.srv import LoadScene

pytestmark = pytest.mark.ros
# As many threads as the command has: sums in another order differ in their last digit.
PARAMETERS = ("backend:=torch", "max_depth:=10.0")
OFFICE = Path(__file__).resolve().parents[3] / "shared" / "real" / "office"


def write_recording(path: Path) -> Path:
    """A recording of the robot's own views: twelve empty frames and one with the block."""
    path.mkdir()
    content = {
        "width": WIDTH,
        "height": HEIGHT,
        "K": [120, 0, 79.5, 0, 120, 59.5, 0, 0, 1],
        "empty_frames": [[0, 11]],
        "occupied_frames": [12, 12],
    }
    (path / "sequence.json").write_text(json.dumps(content))
    for number in range(13):
        view = occupied_view() if number == 12 else empty_view()
        cv2.imwrite(str(path / f"color_{number:04d}.png"), view.color[..., ::-1])
        cv2.imwrite(str(path / f"depth_{number:04d}.png"), view.depth)
    return path


def office_excerpt(path: Path) -> Path:
    """The real recording's first twelve empty frames and one with people, as links."""
    if not OFFICE.is_dir():
        pytest.skip("needs ../shared/real/office")
    path.mkdir()
    content = json.loads((OFFICE / "sequence.json").read_text())
    content |= {"empty_frames": [[11, 22]], "occupied_frames": [60, 60]}
    (path / "sequence.json").write_text(json.dumps(content))
    for file in OFFICE.glob("*_*.*"):
        (path / file.name).symlink_to(file)
    return path


@pytest.mark.parametrize("make", [write_recording, office_excerpt])
def test_node_and_command_agree(
    robot: Robot,
    node: NodeProcess,
    scenes_dir: Path,
    tmp_path: Path,
    make: Callable[[Path], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make(tmp_path / "recording")
    name = make.__name__
    shared = [str(folder), "--scene", name, "--scenes-dir", str(scenes_dir)]
    assert cli.main(["capture", *shared, "--frames", "12"]) == 0
    output = tmp_path / "mattes"
    assert cli.main(["matte", *shared, "--backend", "torch", "--output", str(output)]) == 0
    recording = open_recording(folder)
    position = recording.occupied[-1]
    frame = recording[position]
    millimetres = np.rint(np.maximum(frame.depth, 0) * 1000).astype(np.uint16)
    camera = recording.camera
    matrix = (camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0)
    robot.rate = 5.0
    robot.view = View(frame.color, millimetres, info_matrix=matrix)
    end = time.monotonic() + PATIENCE
    # The node refuses the scene until it has seen the first frame of its size.
    while not (
        answer := robot.call(LoadScene, "load_scene", LoadScene.Request(scene=name))
    ).success:
        assert time.monotonic() < end, answer.message
        time.sleep(0.2)
    robot.wait_for_state(Status.STATE_MATTING)
    robot.show(robot.view)
    # Of a view that stands still the filter over time changes nothing.
    scene = SceneStore(scenes_dir).load(name)
    alone = Predictor(scene, "torch", threads=1, video=False).predict(frame)
    for kind, expected in (("alpha", alone.alpha), ("trimap", alone.trimap)):
        listener = robot.subscribe(Image, kind)
        message = listener.next(2)[-1]
        listener.close()
        assert expected is not None and 0.01 < (expected == 255).mean() < 0.9
        np.testing.assert_array_equal(pixels_of(message)[..., 0], expected)
        file = output / f"{kind}_{position:04d}.png"
        # The command has seen the frames before.
        written = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert np.abs(written.astype(int) - expected).mean() < 3
