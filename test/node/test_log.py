"""The node's log: short, printable, rare by kind."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import rclpy.logging

from dart_ros.errors import MessageError
from dart_ros.node.log import LONGEST, NodeLog, kind_of, without_figures
from dart_ros.node.problems import Problems


class Lines:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.time = 0.0

    def info(self, text: str) -> None:
        self.lines.append(text)

    warning = error = info


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def log(lines: Lines) -> NodeLog:
    return NodeLog(lines, lambda: lines.time)


def test_lines_are_printable_and_short(lines: Lines, log: NodeLog) -> None:
    log.error("encoding '\x1b[2J\n[FATAL] forged " + "x" * 2_000_000)
    (line,) = lines.lines
    assert line.isprintable() and len(line) == LONGEST
    assert line.startswith(r"encoding '\x1b[2J\n[FATAL] forged xxx")


def test_lines_of_a_kind_are_rare_and_the_others_are_counted(lines: Lines, log: NodeLog) -> None:
    for i in range(1000):
        log.warning(f"encoding 'e{i}' is unknown, frame {i}")
    log.warning("something else")
    assert len(lines.lines) == 12
    assert lines.lines[-2] == "990 further lines of the same kinds were not logged"
    lines.time = 11.0
    log.warning("encoding 'x' is unknown, frame 7")
    assert len(lines.lines) == 13


def test_ever_new_kinds_are_limited_too(lines: Lines, log: NodeLog) -> None:
    for i in range(100_000):
        lines.time += 1e-4  # 10 s altogether
        log.info("kind " + "".join(chr(97 + int(digit)) for digit in str(i)))
    assert len(lines.lines) < 300
    assert len(log._kinds) <= 201


def test_kinds_leave_out_figures_and_quotes() -> None:
    assert kind_of("frame 3 of 'a b'") == kind_of("frame 77 of '\n'") == "frame # of ''"
    assert kind_of("can't read 'a1', frame 3") == kind_of("can't read 'b', frame 4")


def test_what_a_reason_quotes_makes_it_a_new_one_and_figures_do_not() -> None:
    assert without_figures("it isn't 30 Hz of '16UC1'") == "it isn't # Hz of '16UC1'"
    assert without_figures("it isn't 29 Hz of 'rgb8'") == "it isn't # Hz of 'rgb8'"


def test_faults_have_a_traceback_and_errors_on_purpose_none(lines: Lines, log: NodeLog) -> None:
    problems = Problems(log)
    for error in (MessageError("cut\nshort" * 1000), ZeroDivisionError("\x1b[0m" * 10_000)):
        try:
            raise error
        except Exception as caught:
            told = problems.describe(caught)
        assert told.isprintable() and len(told) <= LONGEST
    (fault,) = lines.lines
    assert fault.startswith("Traceback") and "test_log.py" in fault and "\x1b" not in fault
    assert len(fault) < 3 * LONGEST


def test_the_last_problem_is_kept_short(lines: Lines, log: NodeLog) -> None:
    problems = Problems(log)
    problems.report("y" * 1_000_000)
    assert len(problems.last) == LONGEST and lines.lines == [problems.last]


def test_rclpys_logger_takes_all_severities() -> None:
    log = NodeLog(rclpy.logging.get_logger("test_log"))
    for _ in range(2):
        log.info("a")
        log.warning("b")
        log.error("c")
        log.fault(ValueError("d"))


def test_a_fault_that_lasts_has_its_traceback_logged_once_in_five_seconds(
    lines: Lines, log: NodeLog
) -> None:
    def fail(number: int) -> None:
        raise ZeroDivisionError(f"frame {number}")

    for number in range(330):  # 11 s
        lines.time = number / 30
        try:
            fail(number)
        except ZeroDivisionError as error:
            log.fault(error)
    told = [line for line in lines.lines if line.startswith("Traceback")]
    assert [line.rsplit(" ", 1)[1] for line in told] == ["0", "150", "300"]
    try:
        raise ValueError("another fault")
    except ValueError as error:
        log.fault(error)
    assert lines.lines[-1].endswith("ValueError: another fault")
