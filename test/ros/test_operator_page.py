"""The operator's page in a headless browser, against a real node over DDS."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from robot import (
    DOMAIN,
    HEIGHT,
    PATIENCE,
    REPOSITORY,
    WIDTH,
    NodeProcess,
    Robot,
    View,
    block,
    children,
    empty_view,
    occupied_view,
)
from waiting import wait_for

from dart_ros.msg import Status

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
PARAMETERS = ("backend:=torch", "threads:=1")
SAME_TOPICS = tuple(
    f"{name}:=/{name}" for name in ("color/image_raw", "depth/image_raw", "color/camera_info")
)
playwright.expect.set_options(timeout=1000 * PATIENCE)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page's address; its server runs in a process of its own."""
    folder = tmp_path_factory.mktemp("operator")
    command = [sys.executable, "-m", "dart_ros.operator_page.operator_node", "--ros-args"]
    for parameter in ("port:=0", f"backdrops_dir:={folder / 'backdrops'}"):
        command += ["-p", parameter]
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(DOMAIN),
        "PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}",
    }
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + PATIENCE
            while "http://" not in (text := (folder / "log").read_text()):
                assert process.poll() is None and time.monotonic() < end, text
                time.sleep(0.1)
            yield "http://" + text.partition("http://")[2].split()[0]
            assert process.poll() is None, (folder / "log").read_text()
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # `ros2 launch` sends a second one
            assert process.wait(PATIENCE) == 0
            assert "Traceback" not in (folder / "log").read_text()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def page(node: NodeProcess, url: str) -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(locale="en-US", viewport={"width": 1280, "height": 900})
        opened.set_default_timeout(1000 * PATIENCE)
        errors: list[str] = []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(url)
        yield opened
        assert errors == []
        browser.close()


def shown(page: Any) -> np.ndarray[Any, Any]:
    """What the live picture shows now."""
    data = page.locator("#screen").screenshot()
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def wait_for_color(page: Any, bgr: tuple[int, int, int]) -> None:
    """Wait until a good part of the live picture has about a color."""
    end = time.monotonic() + PATIENCE
    while (np.abs(shown(page).astype(int) - bgr).max(axis=2) < 40).mean() < 0.2:
        assert time.monotonic() < end, f"the live picture never got to be {bgr}"
        time.sleep(0.3)


def painted(bgr: tuple[int, int, int]) -> View:
    """What the camera sends while somebody holds a card of one color before it."""
    view = empty_view()
    return replace(view, color=np.full_like(view.color, bgr[::-1]))


def drag(page: Any, selector: str, file: Path) -> None:
    """Drag a file from the desktop to an element and drop it, as a hand does."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    dragged = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    browser = page.context.new_cdp_session(page)
    for event in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": event, **place, "data": dragged})
    browser.detach()


COUNTED = """() => {
  window.counted = [];
  const box = document.querySelector("#countdown");
  new MutationObserver(() => counted.push(box.textContent)).observe(box, { childList: true });
}"""


def test_a_capture_is_refused_with_a_reason_then_done(page: Any, robot: Robot) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#state")).to_contain_text("No background yet")
    expect(page.locator("#reason")).to_contain_text("press “Capture background”")
    page.get_by_role("radio", name="Input").click()
    expect(page.locator("#picture")).to_be_visible()
    page.fill("#scene-name", "booth")
    page.evaluate(COUNTED)
    # So that it isn't done before somebody walks in.
    assert robot.set_parameter("capture_frames", 5000).successful
    page.get_by_role("button", name="Capture background").click()
    wait_for(lambda: page.evaluate("counted.length") >= 5, "the end of the countdown")
    expect(page.locator("#countdown")).to_be_hidden()
    assert page.evaluate("counted") == ["5", "4", "3", "2", "1"]
    expect(page.locator("#state")).to_contain_text("Capturing")
    robot.view = occupied_view()  # somebody walks in
    expect(page.locator("#dialog")).to_be_visible()
    expect(page.locator("#dialog-text")).to_contain_text("moves in the view")
    expect(page.locator("#dialog-picture")).to_be_visible()
    page.get_by_role("button", name="OK").click()
    expect(page.locator("#reason")).not_to_contain_text("~/")  # names of topics are for terminals
    robot.view = empty_view()
    assert robot.set_parameter("capture_frames", 100).successful
    page.get_by_role("button", name="Capture background").click()
    expect(page.locator("#state")).to_contain_text("Matting: booth", timeout=180_000)
    expect(page.get_by_role("button", name="Use: booth")).to_be_disabled()
    expect(page.locator("#scenes img")).to_have_count(1)


def test_backdrops_are_seen(page: Any, robot: Robot, tmp_path: Path) -> None:
    page.get_by_role("radio", name="Composite").click()
    robot.view = empty_view()
    wait_for_color(page, (64, 177, 0))
    page.locator("#color").evaluate(
        "input => { input.value = '#c81e1e'; input.dispatchEvent(new Event('change')) }"
    )
    wait_for_color(page, (30, 30, 200))
    picture = tmp_path / "sea.png"
    cv2.imwrite(str(picture), np.full((90, 120, 3), (210, 120, 20), np.uint8))
    page.set_input_files("#file", str(picture))
    wait_for_color(page, (210, 120, 20))
    picture = tmp_path / "violet.png"
    cv2.imwrite(str(picture), np.full((90, 120, 3), (200, 40, 140), np.uint8))
    drag(page, "#drop", picture)
    wait_for_color(page, (200, 40, 140))
    assert page.evaluate(
        "() => !document.querySelector('h1').dispatchEvent("
        "new DragEvent('drop', { bubbles: true, cancelable: true }))"
    ), "the browser shows a picture that misses its place"
    page.get_by_label("Nothing (black)").check()
    wait_for_color(page, (0, 0, 0))


def test_what_was_put_down_is_absorbed_and_taken_back(page: Any, robot: Robot) -> None:
    from playwright.sync_api import expect

    absorb = page.get_by_role("button", name="Make it background: Put down")
    expect(page.locator("#nothing-moved")).to_be_visible()
    robot.view = occupied_view()
    expect(absorb).to_have_count(1)
    # The thread that learns is niced.
    robot.wait_for(lambda s: len(s.moved) == 1 and s.moved[0].seconds > 4, 3 * PATIENCE)
    mark = page.locator("#marks rect").bounding_box()
    screen = page.locator("#screen").bounding_box()
    rows, columns = block()
    for name, low, high, side in (("x", "width", columns, WIDTH), ("y", "height", rows, HEIGHT)):
        start = (mark[name] - screen[name]) / screen[low] * side
        assert (
            abs(start - high.start) <= 10
            and abs(start + mark[low] / screen[low] * side - high.stop) <= 10
        )
    absorb.click()
    expect(page.locator("#nothing-moved")).to_be_visible()
    page.get_by_role("button", name="Take the last one back").click()
    expect(absorb).to_have_count(1)
    robot.view = empty_view()
    expect(absorb).to_have_count(0)
    page.get_by_role("button", name="Take the last one back").click()
    expect(page.locator("#dialog-text")).to_contain_text("nothing was absorbed")
    page.get_by_role("button", name="OK").click()


def test_scenes_are_renamed_and_a_second_one_deleted(page: Any, robot: Robot) -> None:
    from playwright.sync_api import expect

    page.get_by_role("button", name="Rename: booth").click()
    page.fill("#dialog-input", "stage")
    page.get_by_role("button", name="OK").click()
    expect(page.locator("#state")).to_contain_text("stage")
    assert robot.capture("second").success
    expect(page.get_by_role("button", name="Use: stage")).to_be_enabled()
    page.get_by_role("button", name="Use: stage").click()
    expect(page.locator("#state")).to_contain_text("Matting: stage")
    page.get_by_role("button", name="Delete: second").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("button", name="Delete: second")).to_have_count(0)


def test_a_fit_is_watched_and_ended(page: Any, robot: Robot, node: NodeProcess) -> None:
    from playwright.sync_api import expect

    robot.rate = 5.0  # what the mattes don't take is the fit's
    page.fill("#scene-name", "fitted")
    page.get_by_label("Then fit the network").check()
    page.get_by_role("button", name="Capture background").click()
    expect(page.locator("#state")).to_contain_text("Matting: fitted", timeout=180_000)
    expect(page.locator("#activity-text")).to_contain_text("fitting: ")
    expect(page.locator("#progress")).to_be_visible()
    (pid,) = children(node.process.pid)
    page.get_by_role("button", name="End the fit").click()
    expect(page.get_by_role("button", name="End the fit")).to_be_hidden()
    expect(page.locator("#activity")).to_be_hidden()
    expect(page.locator("#state")).to_contain_text("Matting: fitted")
    assert not Path(f"/proc/{pid}").exists()
    page.get_by_label("Then fit the network").uncheck()
    robot.rate = 30.0


def test_languages_and_sizes(page: Any) -> None:
    from playwright.sync_api import expect

    page.select_option("#language", "de")
    expect(page.get_by_role("button", name="Hintergrund aufnehmen")).to_be_visible()
    page.select_option("#language", "en")
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_of_accessibility(page: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    # Without motion, as buttons are of both schemes while they change over.
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    found = axe.Axe().run(page).response["violations"]
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []


def test_a_node_that_is_gone_and_back(
    page: Any, robot: Robot, node: NodeProcess, scenes_dir: Path
) -> None:
    from playwright.sync_api import expect

    gone = "The node has stopped sending its state."
    tab = page.get_by_role("tab", name="/second/matting_node")
    start = partial(NodeProcess, scenes_dir, *PARAMETERS, namespace="/second", remaps=SAME_TOPICS)
    robot.rate = 10.0  # two nodes look
    second = start()
    try:
        page.get_by_role("radio", name="Input").click()
        tab.click()
        robot.view = painted((30, 30, 200))
        wait_for_color(page, (30, 30, 200))
        second.stop(signal.SIGKILL)
        expect(page.locator("#reason")).to_have_text(gone)
        robot.view = painted((200, 120, 20))
        second = start()
        expect(page.locator("#reason")).not_to_have_text(gone)
        wait_for_color(page, (200, 120, 20))
    finally:
        second.stop(signal.SIGKILL)
    expect(tab).to_have_count(0, timeout=120_000)
    expect(page.locator("#state")).to_contain_text("Matting")
    robot.wait_for_state(Status.STATE_MATTING)
