"""Which deaths of a node are followed by another start."""

from __future__ import annotations

from dart_ros.launching.respawn import REFUSED_WITHIN, WINDOW, RespawnPolicy


def test_a_crash_is_followed_by_a_start() -> None:
    policy = RespawnPolicy(5, started=0.0)
    assert policy.died(100.0, -11) == ""
    assert policy.died(200.0, 1) == ""


def test_a_node_that_is_refused_at_its_start_is_not_started_again() -> None:
    policy = RespawnPolicy(5, started=0.0)
    assert "exit code 1 right after its start" in policy.died(REFUSED_WITHIN - 1, 1)


def test_a_crash_at_the_start_is_no_refusal() -> None:
    assert RespawnPolicy(5, started=0.0).died(1.0, -9) == ""


def test_too_many_deaths_within_a_minute_are_the_last() -> None:
    policy = RespawnPolicy(3, started=0.0)
    assert [policy.died(float(second), -11) for second in (30, 31, 32)] == [""] * 3
    assert policy.died(33.0, -11) == "ended by signal 11, the 4th time within 60 s"


def test_old_deaths_are_forgotten() -> None:
    policy = RespawnPolicy(1, started=0.0)
    assert all(policy.died(number * (WINDOW + 1), -9) == "" for number in range(1, 20))


def test_respawn_can_be_off() -> None:
    assert RespawnPolicy(0, started=0.0).died(100.0, 0) == (
        "ended with exit code 0 and respawn is off"
    )
