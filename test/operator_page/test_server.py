"""The page's server over real HTTP, with a node that only remembers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("aiohttp")

from aiohttp import ClientSession, CookieJar, web
from fake_node import FakeNode

from dart_ros.operator_page.access import Access
from dart_ros.operator_page.node import Answer
from dart_ros.operator_page.server import make_app

TOKEN = "correct horse battery"


@asynccontextmanager
async def served(
    folder: Path, *nodes: FakeNode, token: str = ""
) -> AsyncIterator[tuple[str, ClientSession]]:
    app = make_app(lambda: {node.name: node for node in nodes}, Access("127.0.0.1", token), folder)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        # Cookies of addresses are taken by a jar that is told so.
        async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
            yield f"http://127.0.0.1:{port}", session
    finally:
        await runner.cleanup()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 120))


async def watchers(node: FakeNode, number: int) -> None:
    """Waits until so many watch, for as long as the test may take."""
    while node.watching != number:
        await asyncio.sleep(0.01)


NODE = {"node": "/matting_node"}


def picture(width: int = 64, height: int = 48) -> bytes:
    image = np.full((height, width, 3), (10, 20, 200), np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def test_the_page_and_its_parts_are_served_with_a_strict_policy(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(tmp_path, FakeNode()) as (url, session):
            async with session.get(url) as response:
                page = await response.text()
                assert response.status == 200
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy and "unsafe" not in policy
            parts = re.findall(r'(?:src|href)="(/[^"]+)"', page)
            assert len(parts) >= 3
            for part in [*parts, "/web/texts/en.json", "/web/texts/de.json"]:
                async with session.get(url + part) as response:
                    assert response.status == 200, part
            # Works offline: nothing comes from elsewhere.
            for text in (page, *[(await (await session.get(url + p)).text()) for p in parts]):
                assert not re.findall(r"(?:src|href|url\(|import)[^\n]*https?://", text)

    run(test)


def test_no_way_from_the_page_to_other_files(tmp_path: Path) -> None:
    async def test() -> None:
        async with served(tmp_path, FakeNode()) as (url, _):
            port = int(url.rpartition(":")[2])
            for path in (
                "/web/../server.py",
                "/web/%2e%2e/server.py",
                "/web/..%2f..%2ferrors.py",
                "/web//etc/passwd",
                "/web/%2fetc%2fpasswd",
                "/../../etc/passwd",
            ):
                # By hand: clients put such paths right before they send them.
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                answer = await reader.read()
                writer.close()
                assert answer.split()[1] in (b"403", b"404"), (path, answer[:80])
                assert b"import" not in answer and b"root:" not in answer

    run(test)


def test_another_origin_is_refused_everywhere(tmp_path: Path) -> None:
    async def test() -> None:
        node = FakeNode()
        async with served(tmp_path, node) as (url, session):
            evil = {"Origin": "http://evil.example"}
            async with session.post(
                f"{url}/api/capture", params=NODE, json={"scene": "x"}, headers=evil
            ) as response:
                assert response.status == 403
            async with session.get(f"{url}/api/events", headers=evil) as response:
                assert response.status == 403
            async with session.get(url, headers={"Host": "evil.example"}) as response:
                assert response.status == 403
            # A plain form of another site, from a browser too old to tell its origin.
            async with session.post(
                f"{url}/api/capture", params=NODE, data={"scene": "x"}
            ) as response:
                assert response.status == 415
        assert node.asked == []

    run(test)


def test_without_the_token_nothing_is_shown_or_done(tmp_path: Path) -> None:
    async def test() -> None:
        node = FakeNode()
        async with served(tmp_path, node, token=TOKEN) as (url, session):
            for method, path in (
                ("GET", "/api/events"),
                ("GET", "/api/live?view=input&node=/matting_node"),
                ("GET", "/api/scenes?node=/matting_node"),
                ("POST", "/api/capture?node=/matting_node"),
                ("PUT", "/api/backdrop/picture?node=/matting_node"),
                ("POST", "/api/still?node=/matting_node"),
            ):
                async with session.request(method, url + path, json={}) as response:
                    assert response.status == 401, path
            async with session.post(f"{url}/api/login", json={"token": "wrong"}) as response:
                assert response.status == 401
            async with session.post(f"{url}/api/login", json={"token": TOKEN}) as response:
                assert response.status == 200
                assert "HttpOnly" in response.headers["Set-Cookie"]
                assert "SameSite=Strict" in response.headers["Set-Cookie"]
            async with session.post(f"{url}/api/cancel_fit", params=NODE, json={}) as response:
                assert (await response.json())["success"]
        assert node.asked == [("cancel_fit",)]

    run(test)


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        ("capture", {"scene": "lab", "fit": True}, ("capture", "lab", True)),
        ("cancel_capture", {}, ("cancel_capture",)),
        ("fit", {"scene": "lab"}, ("fit", "lab")),
        ("load", {"scene": "lab"}, ("load", "lab")),
        ("rename", {"scene": "lab", "name": "hall"}, ("rename", "lab", "hall")),
        ("delete", {"scene": "lab"}, ("delete", "lab")),
        ("absorb", {"region": [3, 4, 20, 30]}, ("absorb", (3, 4, 20, 30))),
        ("undo_absorb", {}, ("undo_absorb",)),
        ("backdrop", {"kind": "none"}, ("backdrop", {"kind": "none"})),
    ],
)
def test_requests_reach_the_node(
    tmp_path: Path, path: str, body: dict[str, Any], asked: tuple[Any, ...]
) -> None:
    async def test() -> None:
        node = FakeNode(answer=Answer(False, "<b>no</b>", picture()))
        async with (
            served(tmp_path, node) as (url, session),
            session.post(f"{url}/api/{path}", params=NODE, json=body) as response,
        ):
            answer = await response.json()
            assert answer["message"] == "<b>no</b>" and not answer["success"]
            assert answer["picture"].startswith("data:image/png;base64,")
            assert response.content_type == "application/json"
        assert node.asked == [asked]

    run(test)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b"\xff", b'"x"', b"[" * 30_000, b"[" * 100_000]
)
def test_bad_bodies_are_told(tmp_path: Path, body: bytes) -> None:
    async def test() -> None:
        node = FakeNode()
        async with served(tmp_path, node) as (url, session):
            headers = {"Content-Type": "application/json"}
            async with session.post(
                f"{url}/api/capture", params=NODE, data=body, headers=headers
            ) as response:
                assert response.status == (413 if len(body) > 65536 else 400)
            async with session.post(f"{url}/api/nothing", params=NODE, json={}) as response:
                assert response.status == 404
            async with session.post(f"{url}/api/capture?node=/other", json={}) as response:
                assert response.status == 404
        assert node.asked == []

    run(test)


@pytest.mark.parametrize(
    "region",
    [None, [], [1, 2, 3], [1, 2, 3, -1], [0, 0, 1, 1 << 32], [True, 0, 1, 1], [0, 0, 1, "x"]],
)
def test_a_region_is_four_numbers(tmp_path: Path, region: Any) -> None:
    async def test() -> None:
        node = FakeNode()
        async with (
            served(tmp_path, node) as (url, session),
            session.post(f"{url}/api/absorb", params=NODE, json={"region": region}) as response,
        ):
            assert response.status == 400
            assert "left, top" in (await response.json())["message"]
        assert node.asked == []

    run(test)


def test_the_live_picture_ends_with_its_viewer(tmp_path: Path) -> None:
    async def test() -> None:
        node = FakeNode()
        async with served(tmp_path, node) as (url, session):
            params = {**NODE, "view": "composite"}
            async with session.get(f"{url}/api/live", params=params) as response:
                assert response.content_type == "multipart/x-mixed-replace"
                data = b""
                while data.count(b"--picture") < 4:
                    data += await response.content.readany()
            parts = data.split(b"--picture\r\n")[1:3]
            for part in parts:
                head, _, body = part.partition(b"\r\n\r\n")
                length = int(re.findall(rb"Content-Length: (\d+)", head)[0])
                image = cv2.imdecode(np.frombuffer(body[:length], np.uint8), cv2.IMREAD_COLOR)
                assert image.shape == (48, 64, 3)
            await watchers(node, 0)
            async with session.get(f"{url}/api/live", params={**NODE, "view": "x"}) as response:
                assert response.status == 404

    run(test)


def test_a_viewer_of_a_silent_node_waits_and_may_leave(tmp_path: Path) -> None:
    async def test() -> None:
        node = FakeNode(silent=True)
        async with served(tmp_path, node) as (url, session):
            params = {**NODE, "view": "alpha"}
            async with session.get(f"{url}/api/live", params=params) as response:
                await watchers(node, 1)
                await asyncio.sleep(0.3)
                assert node.watching == 1
                node.silent = False
                data = b""
                while data.count(b"--picture") < 2:
                    data += await response.content.readany()
                node.silent = True
            await watchers(node, 0)
            async with session.get(f"{url}/api/live", params=params):
                await watchers(node, 1)
            await watchers(node, 0)

    run(test)


def test_statuses_come_as_they_change(tmp_path: Path) -> None:
    async def test() -> None:
        left, right = FakeNode("/left/matting_node"), FakeNode("/right/matting_node")
        async with (
            served(tmp_path, left, right) as (url, session),
            session.get(f"{url}/api/events") as response,
        ):
            first = await response.content.readline()
            assert b"/left/matting_node" in first and b"/right/matting_node" in first
            await response.content.readline()
            left.state = {**left.state, "reason": "</script><script>alert(1)</script>"}
            second = await response.content.readline()
            assert second.startswith(b"data: ") and b"alert(1)" in second

    run(test)


def test_pictures_are_kept_under_names_of_our_own(tmp_path: Path) -> None:
    async def test() -> None:
        node = FakeNode()
        folder = tmp_path / "backdrops"
        async with served(folder, node) as (url, session):
            put = f"{url}/api/backdrop/picture"
            async with session.put(put, params=NODE, data=picture()) as response:
                assert (await response.json())["success"]
            (file,) = folder.iterdir()
            assert node.asked == [("backdrop", {"kind": "picture", "file": str(file)})]
            assert re.fullmatch(r"backdrop-[0-9a-f]{16}\.jpg", file.name)
            for bad in (b"", b"no picture", picture()[:40], b"<svg xmlns='x'/>"):
                async with session.put(put, params=NODE, data=bad) as response:
                    assert not (await response.json())["success"]
            async with session.put(
                put, params=NODE, data=b"\x89PNG" + bytes(21_000_000)
            ) as response:
                assert response.status == 413
            # 20000x20000 pixels in some kilobytes.
            bomb = bytearray(picture())
            bomb[16:24] = (20000).to_bytes(4, "big") * 2
            async with session.put(put, params=NODE, data=bytes(bomb)) as response:
                assert "megapixels" in (await response.json())["message"]
        assert len(node.asked) == 1 and len(list(folder.iterdir())) == 1

    run(test)


def test_a_still_is_a_download(tmp_path: Path) -> None:
    async def test() -> None:
        node = FakeNode(answer=Answer(True, "", picture()))
        async with served(tmp_path, node) as (url, session):
            async with session.post(f"{url}/api/still", params=NODE, json={}) as response:
                assert response.content_type == "image/png"
                assert await response.read() == picture()
            node.answer = Answer(False, "there is no background yet")
            async with session.post(f"{url}/api/still", params=NODE, json={}) as response:
                assert not (await response.json())["success"]

    run(test)
