"""Fixtures of the tests that start real nodes; without ROS there is nothing to collect."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from robot import NodeProcess, Robot

if importlib.util.find_spec("rclpy") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="module")
def robot() -> Iterator[Robot]:
    """A robot with a camera, for all tests of a module."""
    from robot import Robot

    made = Robot()
    yield made
    made.close()


@pytest.fixture(scope="module")
def scenes_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scenes of the module's node."""
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest, robot: Robot, scenes_dir: Path) -> Iterator[NodeProcess]:
    """One real node for all tests of a module, with its PARAMETERS; it must end well."""
    from robot import NodeProcess

    made = NodeProcess(scenes_dir, *request.module.PARAMETERS)
    try:
        robot.wait_for_active()
        yield made
        assert made.process.poll() is None, f"the node died: {made.log}"
        assert made.stop() == 0, made.log
        assert "Traceback" not in made.log
    finally:
        if made.process.poll() is None:
            made.stop(signal.SIGKILL)
