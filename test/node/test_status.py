from __future__ import annotations

import pytest

pytest.importorskip("dart_ros.msg", reason="needs the built interfaces (make build)")

from diagnostic_msgs.msg import DiagnosticStatus

from dart_ros.msg import Status
from dart_ros.node.status import change_key, diagnostics


def test_figures_alone_are_no_change() -> None:
    a = Status(state=Status.STATE_WAITING, reason="color 30 Hz, depth 0 Hz", frame_rate=3.0)
    b = Status(state=Status.STATE_WAITING, reason="color 29 Hz, depth 0 Hz", frame_rate=4.0)
    assert change_key(a) == change_key(b)
    for change in ({"state": Status.STATE_ERROR}, {"reason": "other"}, {"fitting": True}):
        assert change_key(Status(**{"state": 1, "reason": a.reason, **change})) != change_key(a)


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
