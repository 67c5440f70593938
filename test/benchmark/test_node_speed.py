"""What the node's benchmark makes and says; the nodes themselves are those of the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from benchmark.node_speed import line, plot, resized
from dart_ros.files import DEMO_RECORDING
from dart_ros.session.recording import open_recording


def row(rate: float, **changes: Any) -> dict[str, Any]:
    return {
        "width": 640,
        "height": 480,
        "rate": rate,
        "published": 100,
        "lost": 1,
        "dropped": 2,
        "mattes_per_second": rate,
        "latency_ms": {"p50": 20.0, "p95": 30.0, "p99": 40.0},
        "cpu_percent": {"matting_node": 150.0, "camera": 5.0},
        "peak_memory_mb": 700,
        "first_matte_seconds": 3.21,
        "page": False,
        **changes,
    }


@pytest.mark.parametrize(("height", "width"), [(240, 320), (120, 320), (240, 200)])
def test_the_recording_at_another_size_shows_the_same(
    height: int, width: int, tmp_path: Path
) -> None:
    original = open_recording(DEMO_RECORDING)
    smaller = open_recording(resized(tmp_path / "smaller", height, width))
    assert len(smaller) == len(original) and smaller.occupied == original.occupied
    camera = smaller.camera
    assert (camera.height, camera.width) == (height, width)
    frame, source = smaller[40], original[40]
    assert frame.color.shape == (height, width, 3) and frame.depth.shape == (height, width)
    # The same point of the room: through the middle of both pictures goes the same ray.
    assert camera.cx - width / 2 == pytest.approx((original.camera.cx - 320) / 2, abs=0.6)
    assert camera.cy - height / 2 == pytest.approx((original.camera.cy - 240) / 2, abs=0.6)
    zoom = max(height / 480, width / 640)
    assert camera.fx == pytest.approx(zoom * original.camera.fx)
    middle = frame.color[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4]
    wide = source.color[240 - 8 : 240 + 8, 320 - 8 : 320 + 8]
    np.testing.assert_allclose(middle.mean((0, 1)), wide.mean((0, 1)), atol=12)


def test_a_row_tells_all(tmp_path: Path) -> None:
    text = line(row(30.0))
    for part in ("640x480 at 30 Hz", "20 / 30 / 40 ms", "1 lost and 2 replaced of 100", "3.2 s"):
        assert part in text
    assert "page" not in text
    watched = row(30.0, page=True, seen_per_second=29.5, bytes_a_picture=31000)
    assert "in the page 29.5 pictures/s of 31000 bytes" in line(watched)


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(tmp_path / "plot.png", [row(15.0), row(30.0), row(30.0, width=1280, height=720)])
    assert (tmp_path / "plot.png").stat().st_size > 5000
