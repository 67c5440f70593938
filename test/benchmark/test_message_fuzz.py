from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sensor_msgs", reason="needs ROS 2")

from benchmark.message_fuzz import broken_pair, good_pair
from dart_ros.errors import MessageError
from dart_ros.node.image_messages import ImagePair, frame_from_pair, why_no_points


def test_broken_messages_become_frames_or_short_reasons() -> None:
    random = np.random.default_rng(3)
    refused = 0
    for number in range(1500):
        pair = ImagePair(*broken_pair(random, 10**18 + number))
        try:
            frame = frame_from_pair(pair, 5.0)
        except MessageError as error:
            refused += 1
            reasons = [str(error)]
        else:
            known = frame.depth[frame.depth > 0]
            assert np.isfinite(frame.depth).all() and (known <= 5.0).all()
            assert frame.color.shape[:2] == frame.depth.shape
            reasons = [why_no_points(pair, frame.camera)]
        for reason in reasons:
            assert len(reason) < 700 and reason.isprintable(), reason[:200]
    assert 500 < refused < 1450


def test_the_same_seed_breaks_in_the_same_way_and_good_pairs_are_good() -> None:
    one, other = (broken_pair(np.random.default_rng(9), 10**18) for _ in range(2))
    assert one == other
    frame = frame_from_pair(ImagePair(*good_pair(10**18)), 5.0)
    assert (frame.depth == 1.2).any() or np.isclose(frame.depth, 1.2).any()
