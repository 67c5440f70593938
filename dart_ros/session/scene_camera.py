"""Whether a scene was captured by the camera that sends now, as far as anything tells."""

from __future__ import annotations

from dart_ros.session.scene import Scene
from dart_ros.values import Camera

_FOCAL_SHARE = 0.005
"""Share by which focal lengths may differ: of one model's cameras they do by a per cent."""

_CENTER_PIXELS = 2.0
"""Pixels by which principal points may differ; of one model's cameras they do by five and more."""

_REMEDY = (
    "if that is another camera, load its own scene (~/load_scene) or capture the background again "
    "(~/capture_background)"
)


def why_another_camera(scene: Scene, camera: Camera) -> str:
    """Why a camera seems to be another than that of a scene, and what to do; empty if it doesn't.

    A camera_info without focal length tells nothing, nor does an empty frame_id.

    Args:
        scene: the scene.
        camera: what the camera sends now, at the size of the scene.
    """
    before = scene.camera
    if camera.frame_id and before.frame_id and camera.frame_id != before.frame_id:
        return (
            f"the camera's frame_id is '{camera.frame_id}', but scene '{scene.name}' was captured "
            f"in '{before.frame_id}': {_REMEDY}"
        )
    focal = max(abs(camera.fx - before.fx), abs(camera.fy - before.fy))
    center = max(abs(camera.cx - before.cx), abs(camera.cy - before.cy))
    told = min(camera.fx, camera.fy, before.fx, before.fy) > 0
    if told and (focal > _FOCAL_SHARE * before.fx or center > _CENTER_PIXELS):
        return (
            f"camera_info says {_intrinsics(camera)}, but scene '{scene.name}' was captured with "
            f"{_intrinsics(before)}: {_REMEDY}"
        )
    return ""


def _intrinsics(camera: Camera) -> str:
    return f"fx {camera.fx:.1f}, fy {camera.fy:.1f}, cx {camera.cx:.1f}, cy {camera.cy:.1f}"
