from __future__ import annotations

import sys
import types
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("sensor_msgs", reason="needs ROS 2")

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from dart_ros.errors import MessageError
from dart_ros.node.image_messages import (
    ImagePair,
    PointCloudMaker,
    camera_from_info,
    depth_image,
    frame_from_pair,
    image_message,
)
from dart_ros.values import Camera, Frame

K = (500.0, 0.0, 3.5, 0.0, 400.0, 2.5, 0.0, 0.0, 1.0)


def info(width: int = 8, height: int = 6, k: tuple[float, ...] = K) -> CameraInfo:
    return CameraInfo(width=width, height=height, k=list(k), header=Header(frame_id="optical"))


def pair(**changes: Any) -> ImagePair:
    header = Header(frame_id="optical")
    header.stamp.sec, header.stamp.nanosec = 12, 345
    color = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    depth = np.full((6, 8), 1500, np.uint16)
    made = ImagePair(
        image_message(color, "rgb8", header), image_message(depth, "16UC1", header), info()
    )
    return replace(made, **changes)


def test_a_pair_becomes_a_frame() -> None:
    frame = frame_from_pair(pair(), 5.0)
    assert frame.stamp == 12_000_000_345
    assert frame.color.tobytes() == bytes(range(6 * 8 * 3))
    np.testing.assert_allclose(frame.depth, 1.5)
    assert frame.camera == Camera(8, 6, 500.0, 400.0, 3.5, 2.5, "optical")


def test_unequal_sizes_name_the_option_of_the_driver() -> None:
    depth = image_message(np.zeros((4, 8), np.uint16), "16UC1", Header())
    with pytest.raises(MessageError, match=r"8x6 but depth is 8x4.*align_depth.*depth_registrat"):
        frame_from_pair(pair(depth=depth), 5.0)


def test_unequal_frames_name_both_frames_and_the_option() -> None:
    depth = image_message(np.zeros((6, 8), np.uint16), "16UC1", Header(frame_id="depth_optical"))
    with pytest.raises(MessageError, match=r"'optical' but depth in frame 'depth_optical'.*align_"):
        frame_from_pair(pair(depth=depth), 5.0)
    depth.header.frame_id = ""
    frame_from_pair(pair(depth=depth), 5.0)


@pytest.mark.parametrize("k", [(0.0,) * 9, (float("nan"),) * 9, (-1.0, *K[1:])])
def test_an_uncalibrated_camera_is_refused(k: tuple[float, ...]) -> None:
    with pytest.raises(MessageError, match=r"no usable camera matrix.*calibrate"):
        camera_from_info(info(k=k), 8, 6)


def test_camera_info_of_another_size_is_refused() -> None:
    with pytest.raises(MessageError, match="camera_info is for 16x12 images, but color is 8x6"):
        frame_from_pair(pair(info=info(16, 12)), 5.0)


def test_broken_data_is_refused() -> None:
    broken = pair()
    broken.depth.data = broken.depth.data[:-3]
    with pytest.raises(MessageError, match=r"depth.*cut short"):
        frame_from_pair(broken, 5.0)


def bayer_pair() -> ImagePair:
    color = image_message(np.zeros((6, 8), np.uint8), "mono8", Header(frame_id="optical"))
    color.encoding = "bayer_rggb8"
    return pair(color=color)


class _Bridge:
    """Stands in for cv_bridge, which is not on PyPI: greys for one encoding, refuses the others."""

    def imgmsg_to_cv2(self, message: Any, desired_encoding: str) -> np.ndarray[Any, Any]:
        assert desired_encoding == "rgb8"
        if message.width != 8:
            raise ValueError("8 columns, please")
        return np.full((message.height, message.width, 3), 77, np.uint8)


def _install_bridge(monkeypatch: pytest.MonkeyPatch, numpy_version: str) -> None:
    module = types.ModuleType("cv_bridge")
    module.CvBridge = _Bridge  # type: ignore[attr-defined]
    module.CvBridgeError = ValueError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    monkeypatch.setattr(np, "__version__", numpy_version)


def test_cv_bridge_converts_what_we_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    _install_bridge(monkeypatch, "1.26.4")
    np.testing.assert_array_equal(frame_from_pair(bayer_pair(), 5.0).color, 77)


def test_cv_bridge_is_not_touched_under_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    _install_bridge(monkeypatch, "2.1.0")
    with pytest.raises(MessageError, match="bayer_rggb8"):
        frame_from_pair(bayer_pair(), 5.0)


def test_unknown_encodings_are_refused_without_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    _install_bridge(monkeypatch, "1.26.4")
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(MessageError, match="bayer_rggb8"):
        frame_from_pair(bayer_pair(), 5.0)


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32]),
        hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=5),
        elements=st.integers(0, 255),
    )
)
def test_image_message_holds_the_bytes_of_the_array(pixels: np.ndarray[Any, Any]) -> None:
    header = Header(frame_id="f")
    message = image_message(pixels[:, ::-1], "any", header)  # not contiguous
    assert (message.height, message.width) == pixels.shape[:2]
    assert message.step * message.height == len(message.data) == pixels.nbytes
    assert message.data.tobytes() == pixels[:, ::-1].tobytes()
    assert message.header is header


def frame(depth: np.ndarray[Any, Any]) -> Frame:
    height, width = depth.shape
    camera = Camera(width, height, 100.0, 200.0, 1.0, 0.5)
    return Frame(np.zeros((height, width, 3), np.uint8), depth.astype(np.float32), 0, camera)


def test_points_are_those_of_the_foreground_with_known_depth() -> None:
    depth = np.array([[2.0, -1.0, 3.0], [4.0, 5.0, 6.0]])
    alpha = np.array([[255, 255, 127], [128, 0, 0]], np.uint8)
    color = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    cloud = PointCloudMaker().message(frame(depth), alpha, color, Header(frame_id="f"))
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 2, 16, 32)
    assert [(f.name, f.offset) for f in cloud.fields] == [
        ("x", 0), ("y", 4), ("z", 8), ("rgb", 12),
    ]  # fmt: skip
    points = np.frombuffer(cloud.data, np.float32).reshape(2, 4)
    # Pixels (u, v) = (0, 0) at 2 m and (0, 1) at 4 m: x = (u - 1)·z/100, y = (v - 0.5)·z/200
    np.testing.assert_allclose(points[:, :3], [[-0.02, -0.005, 2], [-0.04, 0.01, 4]], rtol=1e-6)
    assert points[:, 3].view(np.uint32).tolist() == [0x000102, 0x090A0B]


def test_a_cloud_of_nothing_is_valid() -> None:
    cloud = PointCloudMaker().message(
        frame(np.ones((2, 3))), np.zeros((2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8), Header()
    )
    assert cloud.width == 0 and len(cloud.data) == 0


def test_points_follow_a_change_of_camera() -> None:
    maker = PointCloudMaker()
    for side in (2, 4):
        cloud = maker.message(
            frame(np.ones((side, side))),
            np.full((side, side), 255, np.uint8),
            np.zeros((side, side, 3), np.uint8),
            Header(),
        )
        assert cloud.width == side * side


def test_depth_of_the_foreground_keeps_the_encoding() -> None:
    depth = np.array([[1.2344, 1.2346, -1.0, 5.0]], np.float32)
    alpha = np.array([[128, 255, 255, 127]], np.uint8)
    assert depth_image(depth, alpha, "16UC1").tolist() == [[1234, 1235, 0, 0]]
    metres = depth_image(depth, alpha, "32FC1")
    assert metres.dtype == np.float32
    np.testing.assert_array_equal(metres, np.float32([[1.2344, 1.2346, np.nan, np.nan]]))


@given(hnp.arrays(np.uint16, (3, 4), elements=st.integers(1, 60000)))
def test_millimetres_survive_the_way_through_metres(depth: np.ndarray[Any, Any]) -> None:
    metres = depth.astype(np.float32) * np.float32(1e-3)
    kept = depth_image(metres, np.full(depth.shape, 255, np.uint8), "16UC1")
    np.testing.assert_array_equal(kept, depth)
