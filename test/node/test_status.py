from __future__ import annotations

import pytest

pytest.importorskip("dart_ros.msg", reason="needs the built interfaces (make build)")

from diagnostic_msgs.msg import DiagnosticStatus

from dart_ros.msg import Status
from dart_ros.node.status import FrameLog, diagnostics, story


def test_rate_and_latency_are_those_of_the_last_second() -> None:
    log = FrameLog()
    for i in range(40):
        log.matted(i * 0.1, 0.5 if i < 30 else 0.01)
    summary = log.summary(3.99)
    assert summary.matted == 40
    assert summary.rate == 10
    assert summary.latency == 0.01
    idle = log.summary(60.0)
    assert (idle.matted, idle.rate, idle.latency) == (40, 0.0, 0.0)


def test_a_failure_ends_with_a_usable_frame_but_is_told_for_a_while() -> None:
    log = FrameLog()
    log.failed(10.0, "broken")
    assert (log.summary(10.1).failing, log.summary(10.1).complaint) == ("broken", "broken")
    log.usable()
    assert (log.summary(11.0).failing, log.summary(11.0).complaint) == ("", "broken")
    assert log.summary(14.0).complaint == ""


def test_a_doubt_is_no_failure() -> None:
    log = FrameLog()
    log.doubtful(10.0, "no depth")
    assert (log.summary(10.1).failing, log.summary(10.1).complaint) == ("", "no depth")


def test_figures_alone_are_no_new_story() -> None:
    a = Status(state=Status.STATE_WAITING, reason="color 30 Hz, depth 0 Hz", frame_rate=3.0)
    b = Status(state=Status.STATE_WAITING, reason="color 29 Hz, depth 0 Hz", frame_rate=4.0)
    assert story(a) == story(b)
    for change in ({"state": Status.STATE_ERROR}, {"reason": "other"}, {"fitting": True}):
        assert story(Status(**{"state": 1, "reason": a.reason, **change})) != story(a)


@pytest.mark.parametrize(
    ("state", "reason", "level"),
    [
        (Status.STATE_MATTING, "", DiagnosticStatus.OK),
        (Status.STATE_CAPTURING, "", DiagnosticStatus.OK),
        (Status.STATE_MATTING, "the fit failed", DiagnosticStatus.WARN),
        (Status.STATE_WAITING, "no depth", DiagnosticStatus.WARN),
        (Status.STATE_ERROR, "not aligned", DiagnosticStatus.ERROR),
    ],
)
def test_diagnostics_say_what_the_status_says(state: int, reason: str, level: bytes) -> None:
    status = Status(state=state, reason=reason, scene="room", latency=0.02, frames_dropped=3)
    (entry,) = diagnostics(status, "/robot/matting_node").status
    assert entry.level == level
    assert entry.name == "/robot/matting_node: matting"
    assert reason in entry.message and entry.message
    values = {pair.key: pair.value for pair in entry.values}
    assert values["scene"] == "room" and values["latency (ms)"] == "20.0"
    assert values["frames dropped"] == "3"
