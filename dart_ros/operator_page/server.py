"""The page's server: files of the page, live pictures, status events, requests to the nodes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from dart_ros.operator_page.access import COOKIE, Access, AccessError
from dart_ros.operator_page.node import VIEWS, Answer, MattingNode
from dart_ros.operator_page.uploads import MOST_BYTES, UploadError, store_backdrop

_WEB = Path(__file__).parent / "web"
_EVENT_PERIOD = 0.2  # seconds between two looks whether a status has changed
_ALIVE = 5.0  # seconds after which an event is sent although nothing changed
_MOST_VIEWERS = 16  # live pictures at a time
_MOST_JSON = 65536  # bytes of a request that is no picture
_MOST_PIXELS = 65535  # a side of a region
_BOUNDARY = "picture"

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Nodes = Callable[[], Mapping[str, MattingNode]]


def make_app(nodes: Nodes, access: Access, backdrops: Path) -> web.Application:
    """The web application.

    Args:
        nodes: gives the matting nodes that are there now, by name.
        access: who may use it.
        backdrops: folder in which uploaded pictures are kept.
    """
    return _Server(nodes, access, backdrops).app


class _Server:
    def __init__(self, nodes: Nodes, access: Access, backdrops: Path) -> None:
        self._nodes, self._access, self._backdrops = nodes, access, backdrops
        self._viewers = 0
        self.app = web.Application(middlewares=[self._guarded], client_max_size=MOST_BYTES)
        self.app.add_routes(
            [
                web.get("/", self._index),
                web.static("/web", _WEB),
                web.post("/api/login", self._log_in),
                web.get("/api/events", self._events),
                web.get("/api/live", self._live),
                web.get("/api/scenes", self._scenes),
                web.post("/api/still", self._still),
                web.put("/api/backdrop/picture", self._upload),
                web.post("/api/{what}", self._act),
            ]
        )

    # -- every request -----------------------------------------------------------------------

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._access.check_site(request.headers)
            open_to_all = request.path in ("/", "/api/login") or request.path.startswith("/web/")
            if not open_to_all:
                self._access.check_session(request.cookies.get(COOKIE, ""))
            response = await handler(request)
        except AccessError as error:
            response = _told(str(error), error.status)
        except web.HTTPException as error:
            response = _told(error.reason, error.status)
        if not response.prepared:
            response.headers.update(_HEADERS)
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _node(self, request: web.Request) -> MattingNode:
        name = request.query.get("node", "")
        node = self._nodes().get(name)
        if node is None:
            raise web.HTTPNotFound(reason="no such matting node")
        return node

    # -- page --------------------------------------------------------------------------------

    async def _index(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(_WEB / "index.html")

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request)
        # Each guess costs its time, whoever else is served meanwhile.
        await asyncio.sleep(0.5)
        session = self._access.log_in(str(body.get("token", "")))
        response = _answered(Answer(True, ""))
        response.set_cookie(COOKIE, session, httponly=True, samesite="Strict")
        return response

    # -- what goes on ------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Statuses of all nodes as server-sent events, at each change."""
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        response.headers["Cache-Control"] = "no-store"
        await response.prepare(request)
        told, quiet = "", 0.0
        with contextlib.suppress(ConnectionError):
            while True:
                statuses = {name: node.status() for name, node in self._nodes().items()}
                text = json.dumps(statuses, sort_keys=True)
                if text != told or quiet >= _ALIVE:
                    await response.write(f"data: {text}\n\n".encode())
                    told, quiet = text, 0.0
                await asyncio.sleep(_EVENT_PERIOD)
                quiet += _EVENT_PERIOD
        return response

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """A live picture as multipart/x-mixed-replace (motion JPEG, or PNG)."""
        node, view = self._node(request), request.query.get("view", "")
        if view not in VIEWS:
            raise web.HTTPNotFound(reason=f"views are {', '.join(VIEWS)}")
        if self._viewers >= _MOST_VIEWERS:
            raise web.HTTPServiceUnavailable(reason=f"more than {_MOST_VIEWERS} live pictures")
        kind = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": kind})
        response.headers["Cache-Control"] = "no-store"
        self._viewers += 1
        try:
            await response.prepare(request)
            # Chromium shows a part when the next boundary comes, so each one is closed at once.
            await response.write(f"--{_BOUNDARY}\r\n".encode())
            async with contextlib.aclosing(node.watch(view)) as pictures:  # type: ignore[type-var]
                async for picture in pictures:
                    if picture is None:
                        # No picture is written that would tell that the viewer is gone.
                        if request.transport is None or self._nodes().get(node.name) is not node:
                            break
                        continue
                    head = f"Content-Type: {picture.kind}\r\nContent-Length: {len(picture.data)}"
                    await response.write(head.encode() + b"\r\n\r\n" + picture.data)
                    await response.write(f"\r\n--{_BOUNDARY}\r\n".encode())
        except ConnectionError:
            pass
        finally:
            self._viewers -= 1
        return response

    async def _scenes(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._node(request).scenes())

    # -- what is asked for -------------------------------------------------------------------

    async def _act(self, request: web.Request) -> web.StreamResponse:
        node, body = self._node(request), await _json(request)
        scene, name = str(body.get("scene", "")), str(body.get("name", ""))
        actions: dict[str, Callable[[], Awaitable[Answer]]] = {
            "capture": lambda: node.capture(scene, bool(body.get("fit"))),
            "cancel_capture": node.cancel_capture,
            "fit": lambda: node.fit(scene),
            "cancel_fit": node.cancel_fit,
            "load": lambda: node.load(scene),
            "rename": lambda: node.rename(scene, name),
            "delete": lambda: node.delete(scene),
            "absorb": lambda: node.absorb(_region(body.get("region"))),
            "undo_absorb": node.undo_absorb,
            "backdrop": lambda: node.set_backdrop(body),
        }
        action = actions.get(request.match_info["what"])
        if action is None:
            raise web.HTTPNotFound(reason="no such request")
        return _answered(await action())

    async def _still(self, request: web.Request) -> web.StreamResponse:
        await _json(request)
        answer = await self._node(request).still()
        if not answer.success:
            return _answered(answer)
        name = 'attachment; filename="still.png"'
        return web.Response(
            body=answer.picture,
            content_type="image/png",
            headers={"Content-Disposition": name},
        )

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        node = self._node(request)
        data = await request.read()
        try:
            # Decoding takes long enough to hold live pictures up.
            file = await asyncio.to_thread(store_backdrop, data, self._backdrops)
        except UploadError as error:
            return _answered(Answer(False, str(error)))
        return _answered(await node.set_backdrop({"kind": "picture", "file": str(file)}))


async def _json(request: web.Request) -> dict[str, Any]:
    """The body of a request; a plain form of another site can't send this content type."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(reason="send application/json")
    if (request.content_length or 0) > _MOST_JSON:
        raise web.HTTPRequestEntityTooLarge(_MOST_JSON, request.content_length or 0)
    try:
        body = await request.json()
    # Python's parser is recursive.
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(reason="the body is no JSON") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(reason="the body is no JSON object")
    return body


def _region(value: Any) -> tuple[int, int, int, int]:
    """Left, top, width and height in pixels, as a node takes them."""
    numbers = value if isinstance(value, list) and len(value) == 4 else []
    if not numbers or any(type(n) is not int or not 0 <= n <= _MOST_PIXELS for n in numbers):
        raise web.HTTPBadRequest(
            reason=f"a region is left, top, width and height, each 0 to {_MOST_PIXELS}"
        )
    left, top, width, height = numbers
    return left, top, width, height


def _answered(answer: Answer) -> web.Response:
    body: dict[str, Any] = {"success": answer.success, "message": answer.message}
    if answer.picture:
        kind = "png" if answer.picture.startswith(b"\x89PNG") else "jpeg"
        encoded = base64.b64encode(answer.picture).decode()
        body["picture"] = f"data:image/{kind};base64,{encoded}"
    return web.json_response(body)


def _told(message: str, status: int) -> web.Response:
    return web.json_response({"success": False, "message": message}, status=status)
