"""Draw meshes with Blender's path tracer (Cycles, on the CPU): color, true alpha and clean depth.

Needs the PyPI package ``bpy`` 4.2, which exists for Python 3.11 alone; nothing else imports this.
The package's axes (y up) become Blender's (z up) by ``(x, y, z) -> (x, -z, y)``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from dart_ros.values import Camera
from tools.datagen.mesh import Material, Mesh, Strands
from tools.datagen.rasterizer import Viewpoint

GLASS = 0.35
"""What is clearer than this is left out: a depth camera looks through it."""
_THROUGH, _FOREGROUND = 1, 2
"""Object index of what reflects or lets through a depth camera's light, and of the foreground."""
_MARGIN = 45
"""Pixels by which hair and motion may reach beyond the silhouette in the depth picture."""


@dataclass(frozen=True)
class Lamp:
    """A round lamp that shines one way.

    Attributes:
        place: (x, y, z) metres.
        aim: What it shines at, metres.
        watts: Radiant power.
        kelvin: Color temperature.
        size: Diameter, metres; the smaller, the sharper the shadows.
    """

    place: tuple[float, float, float]
    aim: tuple[float, float, float]
    watts: float
    kelvin: float = 4500.0
    size: float = 0.4


@dataclass(frozen=True, eq=False)
class Shape:
    """Something to draw.

    Attributes:
        mesh: Its place when the shutter is half open.
        opened: N×3 positions when the shutter opens, None for what stands still.
        closed: N×3 positions when the shutter closes.
        see_through: True where a depth camera gets no answer: windows and mirrors.
    """

    mesh: Mesh
    opened: NDArray[np.float32] | None = None
    closed: NDArray[np.float32] | None = None
    see_through: bool = False


class Studio:
    """A room with a camera, into which foregrounds are put for one picture at a time.

    There can be one at a time, as Blender holds one scene.

    Args:
        camera: Pinhole with the principal point in the middle of the picture.
        view: Where it stands.
        room: What belongs to the background.
        samples: Of each pixel of color; alpha takes 48.
        seed: Of the sampling; the same in all pictures, or the room would change.
    """

    def __init__(
        self, camera: Camera, view: Viewpoint, room: Sequence[Shape], samples: int, seed: int
    ) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._scene = bpy.context.scene
        self._samples = samples
        self._images: dict[int, Any] = {}
        self._materials: dict[int, Any] = {}
        self._kept: list[Material] = []
        self._temporary = tempfile.TemporaryDirectory(prefix="sim_rgbd_")
        self._folder = Path(self._temporary.name)
        self._settings(camera, seed)
        self._place_camera(camera, view)
        self._outputs()
        for shape in room:
            self._add(shape, background=True)

    def __enter__(self) -> Studio:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the temporary files."""
        self._temporary.cleanup()

    def light(self, lamps: Sequence[Lamp], sky: float, exposure: float) -> None:
        """Replace the lights.

        Args:
            lamps: All lamps.
            sky: Strength of the even white light from outside of the room.
            exposure: Stops; 0 leaves the light as it is.
        """
        for old in [o for o in self._scene.objects if o.type == "LIGHT"]:
            bpy.data.objects.remove(old)
        for lamp in lamps:
            data = bpy.data.lights.new("lamp", "AREA")
            data.shape, data.size, data.energy = "DISK", lamp.size, lamp.watts
            data.color = _tint(lamp.kelvin)
            body = bpy.data.objects.new("lamp", data)
            body.matrix_world = _looking(lamp.place, lamp.aim)
            body.visible_camera = False
            self._scene.collection.objects.link(body)
        world = self._scene.world or bpy.data.worlds.new("world")
        self._scene.world = world
        world.use_nodes = True
        world.node_tree.nodes["Background"].inputs["Strength"].default_value = sky
        world.node_tree.nodes["Background"].inputs["Color"].default_value = (1, 1, 1, 1)
        self._scene.view_settings.exposure = exposure

    def picture(
        self, things: Sequence[Shape] = (), hairs: Sequence[Strands] = ()
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
        """Draw the room with foregrounds.

        Returns:
            Color H×W×3 uint8 RGB; depth along the optical axis, H×W float32 metres, 0 where a
            depth camera gets none; alpha H×W uint8.
        """
        added = [self._add(shape, background=False) for shape in things]
        added += [self._add_hair(strands) for strands in hairs]
        try:
            color = self._color()
            depth, seen = self._depth()
            alpha = self._alpha(seen) if seen.any() else np.zeros(depth.shape, np.uint8)
        finally:
            for body in added:
                data = body.data
                bpy.data.objects.remove(body)
                (
                    bpy.data.meshes if isinstance(data, bpy.types.Mesh) else bpy.data.hair_curves
                ).remove(data)
        return color, depth, alpha

    def brightness(self) -> float:
        """Mean of the linear light of a small, rough picture of the room."""
        render, cycles = self._scene.render, self._scene.cycles
        render.resolution_percentage, cycles.samples, cycles.use_denoising = 20, 8, False
        self._tree.nodes["depth"].mute = True
        view = self._scene.view_settings
        kept, view.exposure = view.exposure, 0.0
        pixels = self._render("rough", "OPEN_EXR", "RGB")
        view.exposure = kept
        render.resolution_percentage, cycles.use_denoising = 100, True
        return float(np.minimum(pixels[..., :3], 4.0).mean())

    def _settings(self, camera: Camera, seed: int) -> None:
        render, cycles = self._scene.render, self._scene.cycles
        render.engine = "CYCLES"
        render.resolution_x, render.resolution_y = camera.width, camera.height
        render.threads_mode, render.threads = "FIXED", 1
        render.use_motion_blur = False
        render.motion_blur_shutter = 1.0
        render.dither_intensity = 0.0
        render.use_persistent_data = False
        cycles.device = "CPU"
        cycles.seed = seed
        cycles.use_animated_seed = False
        cycles.use_adaptive_sampling = False
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_prefilter = "FAST"
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 3, 2, 1
        cycles.transparent_max_bounces = 12
        cycles.sample_clamp_indirect = 4.0
        cycles.caustics_reflective = cycles.caustics_refractive = False
        self._scene.view_settings.view_transform = "Standard"
        self._scene.frame_set(1)

    def _place_camera(self, camera: Camera, view: Viewpoint) -> None:
        lens = bpy.data.cameras.new("camera")
        lens.sensor_fit, lens.sensor_width = "HORIZONTAL", 36.0
        lens.lens = camera.fx * 36.0 / camera.width
        lens.clip_start, lens.clip_end = 0.02, 100.0
        body = bpy.data.objects.new("camera", lens)
        body.matrix_world = _looking(view.place, view.target)
        self._scene.collection.objects.link(body)
        self._scene.camera = body

    def _outputs(self) -> None:
        """The compositor passes the picture on and puts distance and object index aside."""
        layer = self._scene.view_layers[0]
        layer.use_pass_z = layer.use_pass_object_index = True
        self._scene.use_nodes = True
        self._tree = self._scene.node_tree
        self._tree.nodes.clear()
        source = self._tree.nodes.new("CompositorNodeRLayers")
        picture = self._tree.nodes.new("CompositorNodeComposite")
        self._tree.links.new(source.outputs["Image"], picture.inputs["Image"])
        self._tree.links.new(source.outputs["Alpha"], picture.inputs["Alpha"])
        files = self._tree.nodes.new("CompositorNodeOutputFile")
        files.name = "depth"
        files.base_path = str(self._folder)
        files.format.file_format, files.format.color_depth = "OPEN_EXR", "32"
        files.file_slots.clear()
        for slot, output in (("z", "Depth"), ("index", "IndexOB")):
            files.file_slots.new(slot)
            self._tree.links.new(source.outputs[output], files.inputs[slot])

    def _color(self) -> NDArray[np.uint8]:
        cycles, render = self._scene.cycles, self._scene.render
        cycles.samples, cycles.use_denoising = self._samples, True
        cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 1.5
        render.use_motion_blur, render.film_transparent = True, False
        self._tree.nodes["depth"].mute = True
        pixels = self._render("color", "PNG", "RGB")
        return np.rint(pixels[..., :3] * 255).astype(np.uint8)

    def _depth(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Distance, and where the foreground is seen."""
        cycles, render = self._scene.cycles, self._scene.render
        # One ray through the middle of each pixel: a mean over an edge is a place with nothing.
        cycles.samples, cycles.use_denoising = 1, False
        cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01
        render.use_motion_blur, render.film_transparent = False, False
        bounces, cycles.max_bounces = cycles.max_bounces, 0
        self._tree.nodes["depth"].mute = False
        self._render("unused", "PNG", "RGB")
        cycles.max_bounces = bounces
        depth = self._read(self._folder / "z0001.exr")[..., 0].copy()
        index = self._read(self._folder / "index0001.exr")[..., 0]
        depth[(depth > 60.0) | (np.rint(index) == _THROUGH)] = 0.0
        return depth, np.rint(index) == _FOREGROUND

    def _alpha(self, seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Coverage by the foreground: the same filter and shutter, the room cut out."""
        cycles, render = self._scene.cycles, self._scene.render
        cycles.samples, cycles.use_denoising = 48, False
        cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 1.5
        render.use_motion_blur, render.film_transparent = True, True
        bounces, cycles.max_bounces = cycles.max_bounces, 0
        self._tree.nodes["depth"].mute = True
        room = [body for body in self._scene.objects if body.get("background")]
        for body in room:
            body.is_holdout = True
        # Nobody sees the light in this picture, and following it takes half of the time.
        lamps = [body for body in self._scene.objects if body.type == "LIGHT"]
        for lamp in lamps:
            lamp.hide_render = True
        height, width = seen.shape
        rows, columns = np.nonzero(seen)
        render.use_border = True
        render.border_min_x = max(0.0, (columns.min() - _MARGIN) / width)
        render.border_max_x = min(1.0, (columns.max() + _MARGIN) / width)
        render.border_min_y = max(0.0, 1 - (rows.max() + _MARGIN) / height)
        render.border_max_y = min(1.0, 1 - (rows.min() - _MARGIN) / height)
        pixels = self._render("alpha", "PNG", "RGBA")
        render.use_border = False
        for lamp in lamps:
            lamp.hide_render = False
        for body in room:
            body.is_holdout = False
        cycles.max_bounces = bounces
        return np.rint(pixels[..., 3] * 255).astype(np.uint8)

    def _render(self, name: str, kind: str, channels: str) -> NDArray[np.float32]:
        render = self._scene.render
        path = self._folder / f"{name}.{'exr' if kind == 'OPEN_EXR' else 'png'}"
        render.filepath = str(path)
        render.image_settings.file_format = kind
        render.image_settings.color_mode = channels
        if kind == "PNG":
            render.image_settings.color_depth = "8"
        bpy.ops.render.render(write_still=True)
        return self._read(path)

    def _read(self, path: Path) -> NDArray[np.float32]:
        """H×W×4 values of a file as stored, top row first."""
        image = bpy.data.images.load(str(path))
        image.colorspace_settings.name = "Non-Color"
        image.alpha_mode = "CHANNEL_PACKED"
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
        return pixels.reshape(height, width, 4)[::-1]

    def _add(self, shape: Shape, background: bool) -> Any:
        mesh = shape.mesh
        data = bpy.data.meshes.new("mesh")
        data.from_pydata(_turned(mesh.positions), [], mesh.triangles)
        layer = data.uv_layers.new()
        uvs = mesh.uvs[mesh.triangles.reshape(-1)] * np.array([1, -1]) + np.array([0, 1])
        layer.data.foreach_set("uv", uvs.astype(np.float32).reshape(-1))
        data.shade_smooth()
        data.normals_split_custom_set_from_vertices(_turned(mesh.normals))
        data.materials.append(self._material(mesh.material))
        body = bpy.data.objects.new("mesh", data)
        if shape.opened is not None and shape.closed is not None:
            # The shutter is open from frame 0.5 to 1.5.
            for name, positions, when in (
                ("middle", mesh.positions, ()),
                ("opened", shape.opened, ((0.5, 1.0), (1.0, 0.0))),
                ("closed", shape.closed, ((1.0, 0.0), (1.5, 1.0))),
            ):
                key = body.shape_key_add(name=name)
                key.data.foreach_set("co", _turned(positions).astype(np.float32).reshape(-1))
                for frame, value in when:
                    key.value = value
                    key.keyframe_insert("value", frame=frame)
            for curve in data.shape_keys.animation_data.action.fcurves:
                for point in curve.keyframe_points:
                    point.interpolation = "LINEAR"
            body.cycles.use_deform_motion = True
            body.cycles.motion_steps = 2
        body["background"] = background
        body.pass_index = (_THROUGH if shape.see_through else 0) if background else _FOREGROUND
        self._scene.collection.objects.link(body)
        return body

    def _add_hair(self, strands: Strands) -> Any:
        count, length = strands.points.shape[:2]
        data = bpy.data.hair_curves.new("hair")
        data.add_curves([length] * count)
        points = _turned(strands.points.reshape(-1, 3)).astype(np.float32)
        data.attributes["position"].data.foreach_set("vector", points.reshape(-1))
        radius = data.attributes.new("radius", "FLOAT", "POINT")
        taper = np.linspace(1.0, 0.3, length, dtype=np.float32) * np.float32(strands.width / 2)
        radius.data.foreach_set("value", np.tile(taper, count))
        color = tuple(float(v) for v in strands.colors.mean(0))
        data.materials.append(self._material(Material(color=(color[0], color[1], color[2]))))
        body = bpy.data.objects.new("hair", data)
        body["background"] = False
        body.pass_index = _FOREGROUND
        self._scene.collection.objects.link(body)
        return body

    def _material(self, material: Material) -> Any:
        if id(material) in self._materials:
            return self._materials[id(material)]
        made = bpy.data.materials.new("material")
        made.use_nodes = True
        tree = made.node_tree
        shader = tree.nodes["Principled BSDF"]
        factor = tuple(_linear(v) for v in material.color)
        shader.inputs["Base Color"].default_value = (*factor, 1.0)
        shader.inputs["Roughness"].default_value = float(
            np.clip(0.75 - 1.4 * material.gloss, 0.1, 1)
        )
        shader.inputs["Specular IOR Level"].default_value = min(0.5, 0.15 + material.gloss)
        color = shader.inputs["Base Color"]
        if material.texture is not None:
            texture = tree.nodes.new("ShaderNodeTexImage")
            texture.image = self._image(material.texture, "sRGB")
            mix = tree.nodes.new("ShaderNodeMix")
            mix.data_type, mix.blend_type = "RGBA", "MULTIPLY"
            mix.inputs["Factor"].default_value = 1.0
            tree.links.new(texture.outputs["Color"], mix.inputs[6])
            mix.inputs[7].default_value = (*factor, 1.0)
            tree.links.new(mix.outputs[2], color)
            if material.texture[..., 3].min() < 128:
                cut = tree.nodes.new("ShaderNodeMath")
                cut.operation = "GREATER_THAN"
                cut.inputs[1].default_value = 0.5
                tree.links.new(texture.outputs["Alpha"], cut.inputs[0])
                tree.links.new(cut.outputs["Value"], shader.inputs["Alpha"])
            if material.glow:
                tree.links.new(mix.outputs[2], shader.inputs["Emission Color"])
        elif material.glow:
            shader.inputs["Emission Color"].default_value = (*factor, 1.0)
        shader.inputs["Emission Strength"].default_value = material.glow
        if material.normal_map is not None:
            bumps = tree.nodes.new("ShaderNodeTexImage")
            bumps.image = self._image(material.normal_map, "Non-Color")
            normal = tree.nodes.new("ShaderNodeNormalMap")
            normal.inputs["Strength"].default_value = material.strength
            tree.links.new(bumps.outputs["Color"], normal.inputs["Color"])
            tree.links.new(normal.outputs["Normal"], shader.inputs["Normal"])
        # Windows are only looked at: the lamps are what lights the room.
        made.cycles.emission_sampling = "NONE"
        self._materials[id(material)] = made
        self._kept.append(material)
        return made

    def _image(self, pixels: NDArray[np.uint8], space: str) -> Any:
        if id(pixels) not in self._images:
            height, width = pixels.shape[:2]
            image = bpy.data.images.new("image", width, height, alpha=True)
            image.colorspace_settings.name = space
            image.alpha_mode = "CHANNEL_PACKED"
            values = (pixels[::-1].astype(np.float32) / 255).reshape(-1)
            image.pixels.foreach_set(np.ascontiguousarray(values))
            image.pack()
            self._images[id(pixels)] = image
        return self._images[id(pixels)]


def _turned(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Package axes to Blender's."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], 1)


def _looking(place: tuple[float, float, float], aim: tuple[float, float, float]) -> Matrix:
    """World matrix of a camera or lamp, which look along their own -z."""
    eye, target = _turned(np.array([place, aim], np.float64))
    back = (eye - target) / np.linalg.norm(eye - target)
    up = np.array([0.0, 0.0, 1.0]) if abs(back[2]) < 0.99 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(back, right), back], 1)
    matrix[:3, 3] = eye
    return Matrix(matrix.tolist())


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _tint(kelvin: float) -> tuple[float, float, float]:
    warm = float(np.clip((6500 - kelvin) / 4000, -0.4, 1))
    return 1 + 0.18 * warm, 1.0, 1 - 0.42 * warm
