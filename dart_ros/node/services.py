"""The node's services: each request is handed to the part that does the work."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger

from dart_ros.errors import SceneError
from dart_ros.msg import SceneInfo
from dart_ros.node.background_learning import BackgroundLearning, described
from dart_ros.node.camera_input import CameraInput
from dart_ros.node.capture import Capture, CaptureOutcome
from dart_ros.node.context import INACTIVE, NodeContext
from dart_ros.node.deferred_service import DeferredService, Reply
from dart_ros.node.fit import Fits
from dart_ros.node.scene_loader import Loaded, SceneLoader
from dart_ros.node.still import StillOutcome, Stills
from dart_ros.node.worker import JobThread
from dart_ros.printable import printable
from dart_ros.session.scene import Scene, check_name
from dart_ros.session.scene_mask import mask_of_polygons, read_mask
from dart_ros.session.scene_store import SceneStore, SceneSummary
from dart_ros.session.view_changes import Thing
from dart_ros.srv import (
    Absorb,
    CaptureBackground,
    DeleteScene,
    ListScenes,
    LoadScene,
    RenameScene,
    SetMask,
    TakeStill,
)


class Services:
    """Offers the services. For the executor's thread.

    Args:
        node: owner of the services.
        context: of the node.
        store: the folder of scenes, listed in a thread of its own.
        camera: tells the size of what the camera sends.
        scenes: loads scenes.
        capture: captures them.
        fits: fits them.
        stills: takes stills.
        learning: learns the background.
    """

    def __init__(
        self,
        node: Node,
        context: NodeContext,
        store: SceneStore,
        camera: CameraInput,
        scenes: SceneLoader,
        capture: Capture,
        fits: Fits,
        stills: Stills,
        learning: BackgroundLearning,
    ) -> None:
        self._learning = learning
        self._context = context
        self._store = store
        self._camera = camera
        self._scenes = scenes
        self._capture = capture
        self._fits = fits
        self._stills = stills
        self._files = JobThread(context.post, "scene files")
        services: Sequence[tuple[Any, str, Callable[[Any, Reply], None]]] = (
            (CaptureBackground, "~/capture_background", self._when_active(self._capture_requested)),
            (LoadScene, "~/load_scene", self._when_active(self._load_requested)),
            (ListScenes, "~/list_scenes", self._list_requested),
            (RenameScene, "~/rename_scene", self._rename_requested),
            (DeleteScene, "~/delete_scene", self._delete_requested),
            (TakeStill, "~/take_still", self._when_active(self._still_requested)),
            (SetMask, "~/set_mask", self._when_active(self._mask_requested)),
            (Absorb, "~/absorb", self._when_active(self._absorb_requested)),
            (Trigger, "~/undo_absorb", self._when_active(self._undo_requested)),
            (Trigger, "~/restore_scene", self._when_active(self._restore_requested)),
            (Trigger, "~/capture", self._when_active(self._default_capture_requested)),
            (Trigger, "~/cancel_capture", self._cancel_capture_requested),
            (Trigger, "~/cancel_fit", self._cancel_fit_requested),
        )
        self._services = [DeferredService(node, context, *service) for service in services]

    def close(self, timeout: float) -> bool:
        """Answer all that wait, and end the thread; whether it has ended in ``timeout`` seconds."""
        for service in self._services:
            service.refuse_open("the node ends")
        return self._files.stop(timeout)

    def _when_active(self, requested: Callable[[Any, Reply], None]) -> Callable[[Any, Reply], None]:
        def checked(request: Any, reply: Reply) -> None:
            if self._context.active():
                requested(request, reply)
            else:
                self._refuse(reply, INACTIVE)

        return checked

    def _refuse(self, reply: Reply, reason: str) -> None:
        self._context.problems.report(reason)
        reply.refuse(reason)

    def _capture_requested(self, request: CaptureBackground.Request, reply: Reply) -> None:
        def ended(outcome: CaptureOutcome) -> None:
            reply.answer(
                outcome.success,
                outcome.message,
                scene_id=outcome.scene_id,
                frames_used=outcome.frames_used,
                known_depth_share=outcome.known_depth_share,
            )

        fit_seconds = request.fit_seconds if request.fit else None
        self._capture.start(request.scene, request.frames, fit_seconds, ended)

    def _load_requested(self, request: LoadScene.Request, reply: Reply) -> None:
        def loaded(made: Loaded) -> None:
            told = f"scene '{made.scene.name}' is in use"
            reply.answer(True, told, scene_id=made.scene.id)

        try:
            check_name(request.scene)
        except SceneError as error:
            self._refuse(reply, str(error))
            return
        self._scenes.load(request.scene, self._camera.size(), loaded, reply.refuse)

    def _list_requested(self, request: ListScenes.Request, reply: Reply) -> None:
        def listed(scenes: list[SceneSummary]) -> None:
            loaded = self._scenes.loaded
            current = loaded.scene.id if loaded is not None else None
            told = f"{len(scenes)} scenes in {self._store.directory}"
            infos = [_scene_info(scene, current, request.thumbnails) for scene in scenes]
            reply.answer(True, told, scenes=infos)

        self._files.submit(self._store.list, listed, lambda error: reply.refuse(str(error)))

    def _rename_requested(self, request: RenameScene.Request, reply: Reply) -> None:
        if reason := self._why_not_changed(request.scene):
            self._refuse(reply, reason)
            return

        def renamed(scene: Scene) -> None:
            if self._is_in_use(request.scene):
                # The name in use is the one that is loaded again at the next start.
                self._scenes.load(scene.name, self._camera.size())
            reply.answer(True, f"scene '{request.scene}' is called '{scene.name}' now")

        self._files.submit(
            lambda: self._store.rename(request.scene, request.name),
            renamed,
            lambda error: self._refuse(reply, self._context.problems.describe(error)),
        )

    def _delete_requested(self, request: DeleteScene.Request, reply: Reply) -> None:
        reason = self._why_not_changed(request.scene)
        if not reason and self._is_in_use(request.scene):
            reason = f"scene '{request.scene}' is in use: load another one first"
        if reason:
            self._refuse(reply, reason)
            return

        def deleted(_: None) -> None:
            reply.answer(True, f"scene '{request.scene}' is deleted")

        self._files.submit(
            lambda: self._store.delete(request.scene),
            deleted,
            lambda error: self._refuse(reply, self._context.problems.describe(error)),
        )

    def _why_not_changed(self, scene: str) -> str:
        """Why a scene's file must not be touched now, empty if it may."""
        try:
            check_name(scene)
        except SceneError as error:
            return str(error)
        if self._fits.running and self._is_in_use(scene):
            return f"the network is being fitted to '{scene}': wait, or cancel the fit first"
        return ""

    def _is_in_use(self, scene: str) -> bool:
        loaded = self._scenes.loaded
        return loaded is not None and loaded.scene.name == scene

    def _still_requested(self, request: TakeStill.Request, reply: Reply) -> None:
        def ended(outcome: StillOutcome) -> None:
            reply.answer(outcome.success, outcome.message, file=outcome.file, **outcome.images)

        self._stills.start(request.file, request.images, ended)

    def _mask_requested(self, request: SetMask.Request, reply: Reply) -> None:
        def made(scene: Scene) -> NDArray[np.uint8] | None:
            if request.file:
                return read_mask(_expanded(request.file), scene.camera)
            background, foreground = (
                [[(corner.x, corner.y) for corner in polygon.points] for polygon in group]
                for group in (request.background, request.foreground)
            )
            if not background and not foreground:
                return None
            return mask_of_polygons(scene.camera, background, foreground)

        def set_(_: None) -> None:
            given = request.file or request.background or request.foreground
            reply.response.success = True
            reply.response.message = "the mask is set and saved" if given else "there is no mask"
            reply.send()

        if request.file and (request.background or request.foreground):
            self._refuse(reply, "name a file or polygons, not both")
        else:
            self._scenes.set_mask(made, set_, reply.refuse)

    def _absorb_requested(self, request: Absorb.Request, reply: Reply) -> None:
        def absorbed(things: list[Thing]) -> None:
            reply.response.success = True
            reply.response.count = len(things)
            reply.response.message = (
                f"{', '.join(map(described, things))}: part of the background now"
            )
            reply.send()

        region = None
        if request.width and request.height:
            region = (request.x, request.y, request.width, request.height)
        self._learning.absorb(region, request.persons_size, absorbed, self._refusal(reply))

    def _undo_requested(self, _: Trigger.Request, reply: Reply) -> None:
        def undone(parts: int) -> None:
            reply.response.success = True
            reply.response.message = f"{parts} parts of the picture are as they were before"
            reply.send()

        self._learning.undo(undone, self._refusal(reply))

    def _restore_requested(self, _: Trigger.Request, reply: Reply) -> None:
        def restored(_: None) -> None:
            reply.response.success = True
            reply.response.message = "the scene is as it was captured"
            reply.send()

        try:
            loaded = self._scenes.in_use()
        except SceneError as error:
            self._refuse(reply, str(error))
            return
        self._learning.restore(loaded, restored, self._refusal(reply))

    def _refusal(self, reply: Reply) -> Callable[[Exception], None]:
        return lambda error: self._refuse(reply, self._context.problems.describe(error))

    def _default_capture_requested(self, _: Trigger.Request, reply: Reply) -> None:
        def ended(outcome: CaptureOutcome) -> None:
            reply.answer(outcome.success, outcome.message)

        self._capture.start(self._context.settings().capture_scene, 0, None, ended)

    def _cancel_capture_requested(self, _: Trigger.Request, reply: Reply) -> None:
        cancelled = self._capture.cancel()
        told = "the capture is being cancelled" if cancelled else "no capture takes frames now"
        reply.answer(cancelled, told)

    def _cancel_fit_requested(self, _: Trigger.Request, reply: Reply) -> None:
        cancelled, told = self._fits.cancel()
        self._context.log.info(f"cancel_fit: {told}")
        reply.answer(cancelled, told)


def _expanded(file: str) -> Path:
    try:
        return Path(file).expanduser()
    except (RuntimeError, ValueError) as error:
        raise SceneError(f"the file can't be had: {printable(str(error), 200)}") from error


def _scene_info(summary: SceneSummary, current: str | None, thumbnail: bool) -> SceneInfo:
    info = SceneInfo(
        name=summary.name,
        scene_id=summary.id,
        captured_at=_time(summary.captured),
        width=summary.size[0],
        height=summary.size[1],
        fitted=summary.fitted,
        loaded=bool(summary.id) and summary.id == current,
        captured_by=summary.captured_by,
        problem=summary.problem or "",
    )
    if thumbnail and summary.thumbnail:
        info.thumbnail = CompressedImage(format="jpeg", data=array("B", summary.thumbnail))
    return info


def _time(when: datetime | None) -> Time:
    """A time as a message, as near as it holds one; zero for none."""
    seconds = 0 if when is None else math.floor(when.timestamp())
    return Time(sec=min(max(seconds, 0), 2**31 - 1))
