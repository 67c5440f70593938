from __future__ import annotations

import argparse
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dart_ros.demo.harness import (
    Child,
    Counts,
    DemoError,
    common_stamps,
    fastdds_profile,
    parse,
    phase_figures,
    ros_arguments,
    run,
    spread,
    table,
)
from dart_ros.demo.recorder import Track, pixels_of, stamp_of

MS = 1_000_000


def image(encoding: str, pixels: np.ndarray, stamp: int = 0) -> bytes:
    message = Image(header=Header(frame_id="camera"), encoding=encoding)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.height, message.width = pixels.shape[:2]
    message.step = pixels.strides[0]
    message.data = pixels.tobytes()
    return bytes(serialize_message(message))


@pytest.mark.parametrize("stamp", [0, 1, 1795374131_984123456, 2**31 * 10**9 - 1])
def test_the_stamp_is_read_without_decoding_the_image(stamp: int) -> None:
    assert stamp_of(image("mono8", np.zeros((2, 3), np.uint8), stamp)) == stamp


def test_the_stamp_of_a_big_endian_message_is_read_too() -> None:
    assert stamp_of(b"\x00\x00\x00\x00" + struct.pack(">iI", 5, 7)) == 5 * 10**9 + 7


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", np.arange(24, dtype=np.uint8).reshape(2, 4, 3)),
        ("mono8", np.arange(8, dtype=np.uint8).reshape(2, 4)),
        ("16UC1", np.arange(8, dtype=np.uint16).reshape(2, 4) * 1000),
    ],
)
def test_pixels_come_back_as_they_were_sent(encoding: str, pixels: np.ndarray) -> None:
    back = pixels_of(image(encoding, pixels))
    assert back.dtype == pixels.dtype
    assert np.array_equal(back, pixels)


def test_the_figures_of_a_phase_add_up() -> None:
    # 11 mattes, one each 50 ms, of which the last comes 100 ms late instead of 20.
    stamps = [50 * MS * i for i in range(11)]
    arrivals = [stamp + 20 * MS for stamp in stamps]
    arrivals[-1] += 80 * MS
    phase = phase_figures(
        ["alpha"],
        2.0,
        Counts(published=100, received=90, matted=40, dropped=30),
        Counts(published=160, received=149, matted=51, dropped=78),
        Track(stamps, arrivals),
        {"node": 1.5},
    )
    assert (phase.published, phase.received, phase.lost) == (60, 59, 1)
    assert (phase.matted, phase.dropped) == (11, 48)
    assert phase.mattes_per_second == round(10 / 0.58, 2)
    assert phase.latency_ms.p50 == 20.0
    assert 40 < phase.latency_ms.p95 < phase.latency_ms.p99
    assert 90 < phase.latency_ms.p99 < 100
    assert phase.cpu_percent == {"node": 75.0}


def test_too_few_mattes_are_an_error_and_not_a_figure() -> None:
    none = Counts(0, 0, 0, 0)
    with pytest.raises(DemoError, match="Only 1 mattes arrived"):
        phase_figures(["alpha"], 2.0, none, none, Track([0], [1]), {})


def test_only_what_arrived_on_all_topics_under_one_stamp_is_shown() -> None:
    kept = {
        "color": [1, 2, 3, 4],
        "depth": [1, 2, 3, 4],
        "alpha": [4, 2, 3],
        "trimap": [2, 3, 4],
        "composite": [2, 4],
    }
    tracks = {name: Track(messages={s: b"" for s in stamps}) for name, stamps in kept.items()}
    assert common_stamps(tracks) == [2, 4]
    tracks["composite"] = Track(stamps=[9])
    with pytest.raises(DemoError, match="composite 1"):
        common_stamps(tracks)


def test_the_rows_are_spread_over_time() -> None:
    stamps = list(range(0, 1000, 10))
    assert spread(stamps, 700, 8) == [0, 100, 200, 300, 400, 500, 600, 700]
    assert spread([0, 1, 2, 700], 700, 3) == [0, 2, 700]
    # A slow machine makes few mattes in the first pass: later ones are shown too.
    assert spread([0, 300, 600, 900], 700, 8) == [0, 300, 600, 900]


def test_parameters_survive_the_way_through_the_command_line() -> None:
    arguments = ros_arguments({"a": "/b"}, {"path": '/some where/"x"', "rate": 0.0})
    assert arguments == [
        *("--ros-args", "-r", "a:=/b"),
        *("-p", 'path:="/some where/\\"x\\""', "-p", "rate:=0.0"),
    ]


def test_the_profile_ships_with_the_package() -> None:
    profile = fastdds_profile()
    assert profile is not None
    assert "<segment_size>" in profile.read_text(encoding="utf-8")


def test_a_dead_node_is_reported_with_its_last_words(tmp_path: Path) -> None:
    script = "print('all is well'); print('out of coffee'); raise SystemExit(3)"
    child = Child("camera", [sys.executable, "-c", script], tmp_path / "log")
    with pytest.raises(DemoError, match=r"camera ended with status 3(.|\n)*out of coffee"):
        for _ in range(600):
            child.check()
            time.sleep(0.1)
    child.stop()


def test_a_node_that_ignores_ctrl_c_is_stopped_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dart_ros.demo.harness._PATIENCE", ((2, 0.5), (15, 0.5)))
    script = (
        "import signal, time; signal.signal(2, signal.SIG_IGN); signal.signal(15, signal.SIG_IGN);"
        "print('ready', flush=True)\nwhile True: sum(range(1000))"
    )
    child = Child("node", [sys.executable, "-c", script], tmp_path / "log")
    while "ready" not in (tmp_path / "log").read_text():
        child.check()
        time.sleep(0.05)
    end = time.monotonic() + 60
    while not child.cpu_seconds() > 0:
        assert time.monotonic() < end
        time.sleep(0.05)
    child.stop()
    with pytest.raises(DemoError, match="status -9"):
        child.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_node_outlives_a_demo_that_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, `kill` and a closed terminal, at a node that does not listen to Ctrl-C."""
    script = """
import contextlib, sys, time
from pathlib import Path
from dart_ros.demo import harness as demo

demo._PATIENCE = ((2, 0.2), (15, 0.2))
demo.end_by_signals()
deaf = "import signal, time; signal.signal(2, signal.SIG_IGN); print('deaf', flush=True); "
log = Path(sys.argv[1]) / "log"
child = demo.Child("node", [sys.executable, "-c", deaf + "time.sleep(600)"], log)
with contextlib.ExitStack() as stack:
    stack.callback(child.stop)
    while "deaf" not in log.read_text():
        time.sleep(0.05)
    print(child._process.pid, flush=True)
    time.sleep(600)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as ended:
        assert ended.stdout is not None
        child = int(ended.stdout.readline())
        ended.send_signal(number)
        assert ended.wait(60) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_what_the_user_has_in_the_output_folder_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "mine.txt").write_text("mine")
    (tmp_path / "summary.json").write_text("of an earlier run")

    def no_nodes(_: Path) -> None:
        raise DemoError("no nodes here")

    monkeypatch.setattr("dart_ros.demo.harness.set_environment", no_nodes)
    with pytest.raises(DemoError, match="no nodes here"):
        run(parse(["--output", str(tmp_path)]))
    assert (tmp_path / "logs" / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "summary.json").exists()


def test_a_source_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(["--source", "/no/such/thing"])
    assert "there is no /no/such/thing" in capsys.readouterr().err


def test_the_options_have_the_defaults_that_the_help_tells(tmp_path: Path) -> None:
    options = parse(["--source", str(tmp_path)])
    assert isinstance(options, argparse.Namespace)
    assert (options.fit, options.seconds, options.output) == (True, 12.0, "demo_output")
    assert parse(["--source", str(tmp_path), "--no-fit"]).fit is False


def test_the_table_shows_what_people_ask_for() -> None:
    phase = {
        "published": 360,
        "received": 360,
        "matted": 301,
        "dropped": 59,
        "lost": 0,
        "mattes_per_second": 25.1,
        "latency_ms": {"p50": 31.5, "p95": 40.0, "p99": 47.0},
        "cpu_percent": {"camera": 4.0, "matting_node": 120.0, "demo": 1.0},
    }
    summary = {
        "speed": phase,
        "pictures": {**phase, "mattes_per_second": 19.9},
        "capture": {"seconds": 4.2, "frames": 100, "known_depth_share": 0.712},
        "fit": {"seconds": 41.0, "improved": True, "last_words": "SAD 4.1 -> 3.2"},
        "width": 640,
        "height": 480,
        "camera_rate": 30.0,
        "backend": "openvino",
        "cpu_count": 2,
    }
    text = table(summary)
    for shown in ("25.1", "19.9", "31.5", "47.0", "71.2 %", "SAD 4.1 -> 3.2", "openvino", "59"):
        assert shown in text
    assert "generic weights" in table({**summary, "fit": None})
