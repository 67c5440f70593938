from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("sensor_msgs", reason="needs ROS 2")

from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from dart_ros.errors import MessageError
from dart_ros.node.image_messages import (
    ImagePair,
    PointCloudMaker,
    depth_image,
    frame_from_pair,
    image_message,
    lens_from_info,
    why_no_points,
)
from dart_ros.session.rays import Lens, pixel_rays
from dart_ros.values import Camera

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


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "no camera_info comes"),
        (info(k=(0.0,) * 9), "no usable camera matrix.*calibrate"),
        (info(k=(float("nan"),) * 9), "no usable camera matrix"),
        (info(k=(-1.0, *K[1:])), "no usable camera matrix"),
        (info(16, 12), "camera_info is for 16x12 images, but color is 8x6"),
    ],
)
def test_without_a_camera_matrix_there_are_frames_but_no_points(
    given: CameraInfo | None, reason: str
) -> None:
    made = pair(info=given)
    with pytest.raises(MessageError, match=reason):
        lens_from_info(given, 8, 6, rectified=False)
    frame = frame_from_pair(made, 5.0)
    assert frame.camera == Camera.uncalibrated(8, 6, "optical")
    assert not frame.camera.calibrated
    assert re.search(reason, why_no_points(made, frame.camera))


def test_distortion_that_is_unknown_is_told() -> None:
    made = pair()
    assert why_no_points(made, frame_from_pair(made, 5.0).camera) == ""
    assert made.info is not None
    made.info.distortion_model, made.info.d = "new\n", [0.1] * 100
    assert "15 coefficients of the model 'new\\n'" in why_no_points(
        made, frame_from_pair(made, 5.0).camera
    )
    assert why_no_points(replace(made, rectified=True), Camera.uncalibrated(8, 6))


def test_rectified_images_have_the_camera_of_p_without_distortion() -> None:
    given = info()
    given.distortion_model, given.d = "plumb_bob", [0.1] * 5
    given.p = [400.0, 0.0, 3.0, 0.0, 0.0, 300.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    camera = frame_from_pair(pair(info=given, rectified=True), 5.0).camera
    assert camera == Camera(8, 6, 400.0, 300.0, 3.0, 2.0, "optical")
    assert lens_from_info(given, 8, 6, rectified=True) == Lens(camera)
    assert lens_from_info(given, 8, 6, rectified=False).coefficients == (0.1,) * 5


def test_frames_with_and_without_a_leading_slash_are_one() -> None:
    depth = image_message(np.zeros((6, 8), np.uint16), "16UC1", Header(frame_id="/optical"))
    assert frame_from_pair(pair(depth=depth), 5.0).camera.frame_id == "optical"


def test_aligned_depth_may_carry_the_frame_of_the_depth_camera() -> None:
    depth = image_message(np.zeros((6, 8), np.uint16), "16UC1", Header(frame_id="depth_optical"))
    frame_from_pair(pair(depth=depth), 5.0, aligned=True)
    frame_from_pair(pair(depth=depth, aligned=True), 5.0)
    with pytest.raises(MessageError, match="set the parameter depth_is_aligned"):
        frame_from_pair(pair(depth=depth), 5.0)
    small = image_message(np.zeros((4, 8), np.uint16), "16UC1", Header(frame_id="optical"))
    with pytest.raises(MessageError, match="8x6 but depth is 8x4"):
        frame_from_pair(pair(depth=small), 5.0, aligned=True)


@pytest.mark.parametrize("which", ["color", "depth"])
def test_a_frame_id_is_not_passed_on_at_any_length(which: str) -> None:
    header = Header(frame_id="x\n" * 10**6)
    broken = pair()
    getattr(broken, which).header = header
    with pytest.raises(MessageError, match=f"frame_id of {which} has 2000000 characters") as caught:
        frame_from_pair(broken, 5.0)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_compressed_messages_make_the_same_frame() -> None:
    plain = pair()
    rgb = np.frombuffer(plain.color.data, np.uint8).reshape(6, 8, 3)
    color = CompressedImage(header=plain.color.header, format="rgb8; png compressed bgr8")
    color.data = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    depth = CompressedImage(header=plain.color.header, format="16UC1; compressedDepth png")
    millimetres = np.full((6, 8), 1500, np.uint16)
    depth.data = bytes(12) + cv2.imencode(".png", millimetres)[1].tobytes()
    made = replace(plain, color=color, depth=depth)
    frame, expected = frame_from_pair(made, 5.0), frame_from_pair(plain, 5.0)
    np.testing.assert_array_equal(frame.color, expected.color)
    np.testing.assert_array_equal(frame.depth, expected.depth)
    assert (frame.camera, frame.stamp) == (expected.camera, expected.stamp)
    assert made.depth_encoding == "16UC1"
    depth.format = "32FC1; compressedDepth png"
    assert made.depth_encoding == "32FC1"
    color.data = color.data[:20]
    with pytest.raises(MessageError, match="cut short"):
        frame_from_pair(made, 5.0)


def test_broken_data_is_refused() -> None:
    broken = pair()
    broken.depth.data = broken.depth.data[:-3]
    with pytest.raises(MessageError, match=r"depth.*cut short"):
        frame_from_pair(broken, 5.0)


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


def seen(depth: np.ndarray[Any, Any]) -> tuple[Lens, np.ndarray[Any, Any]]:
    height, width = depth.shape
    return Lens(Camera(width, height, 100.0, 200.0, 1.0, 0.5)), depth.astype(np.float32)


def test_points_are_those_of_the_foreground_with_known_depth() -> None:
    depth = np.array([[2.0, -1.0, 3.0], [4.0, 5.0, 6.0]])
    alpha = np.array([[255, 255, 127], [128, 0, 0]], np.uint8)
    color = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    cloud = PointCloudMaker().message(*seen(depth), alpha, color, Header(frame_id="f"))
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 2, 16, 32)
    assert [(f.name, f.offset) for f in cloud.fields] == [
        ("x", 0), ("y", 4), ("z", 8), ("rgb", 12),
    ]  # fmt: skip
    points = np.frombuffer(cloud.data, np.float32).reshape(2, 4)
    # Pixels (u, v) = (0, 0) at 2 m and (0, 1) at 4 m: x = (u - 1)·z/100, y = (v - 0.5)·z/200
    np.testing.assert_allclose(points[:, :3], [[-0.02, -0.005, 2], [-0.04, 0.01, 4]], rtol=1e-6)
    assert points[:, 3].view(np.uint32).tolist() == [0x000102, 0x090A0B]


def test_points_take_distortion_into_account_and_leave_out_what_has_no_direction() -> None:
    camera = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
    lens = Lens(camera, "plumb_bob", (-1.0, 0.0, 0.0, 0.0, 0.0))
    everything = np.full((48, 64), 255, np.uint8)
    color = np.zeros((48, 64, 3), np.uint8)
    cloud = PointCloudMaker().message(
        lens, np.full((48, 64), 2.0, np.float32), everything, color, Header()
    )
    assert cloud.is_dense
    points = np.frombuffer(cloud.data, np.float32).reshape(-1, 4)
    assert np.isfinite(points[:, :3]).all()
    rays = pixel_rays(lens)
    expected = rays[np.isfinite(rays).all(axis=1)]
    assert 0 < len(expected) < 48 * 64  # in the corners the model folds over
    np.testing.assert_allclose(points[:, :2], 2 * expected, rtol=1e-6)


def test_a_cloud_of_nothing_is_valid() -> None:
    cloud = PointCloudMaker().message(
        *seen(np.ones((2, 3))), np.zeros((2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8), Header()
    )
    assert cloud.width == 0 and len(cloud.data) == 0


def test_points_follow_a_change_of_camera() -> None:
    maker = PointCloudMaker()
    for side in (2, 4):
        cloud = maker.message(
            *seen(np.ones((side, side))),
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
