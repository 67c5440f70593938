"""Draw meshes with OpenGL on the CPU or GPU, without a window.

One pass per shadow-casting light, one pass for the picture at a multiple of its size, then a box
filter. The filter works on display-space (gamma coded) colors, so that the matting equation
``I = alpha F + (1 - alpha) B`` holds for the images as they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FitError
from dart_ros.values import Camera
from tools.datagen.mesh import Mesh, Strands

NEAR, FAR = 0.05, 40.0
MAX_LIGHTS = 3
_SHADOW_SIZE = 2048
# Below this opacity a surface is glass: a depth camera looks through it, and so do we.
_GLASS = 0.35

_VERTEX = """
#version 330
uniform mat4 world_to_clip;
in vec3 in_position; in vec3 in_normal; in vec2 in_uv;
out vec3 position; out vec3 normal; out vec2 uv;
void main() {
    position = in_position; normal = in_normal; uv = in_uv;
    gl_Position = world_to_clip * vec4(in_position, 1.0);
}
"""

_LIGHTING = """
const int MAX_LIGHTS = 3;
uniform int light_count;
uniform vec3 light_place[MAX_LIGHTS]; uniform vec3 light_color[MAX_LIGHTS];
uniform vec3 light_toward[MAX_LIGHTS]; uniform float light_reach[MAX_LIGHTS];
uniform float light_size[MAX_LIGHTS]; uniform float light_slope[MAX_LIGHTS];
uniform mat4 light_clip[MAX_LIGHTS];
uniform sampler2D shadow_map[MAX_LIGHTS];
uniform vec3 sky; uniform vec3 ground; uniform vec3 eye; uniform float exposure;

float noise(vec2 p) { return fract(52.9829189 * fract(dot(p, vec2(0.06711056, 0.00583715)))); }

float stored(int i, vec2 at) {
    if (i == 0) return texture(shadow_map[0], at).r;
    if (i == 1) return texture(shadow_map[1], at).r;
    return texture(shadow_map[2], at).r;
}

// Percentage-closer soft shadows: the nearer the blocker, the sharper the edge.
float lit(int i, vec3 place, vec3 normal) {
    vec3 to_light = light_place[i] - place;
    float away = length(to_light);
    place += normal * (0.006 + 0.004 * away * (1.0 - max(dot(normal, to_light / away), 0.0)));
    vec4 clip = light_clip[i] * vec4(place, 1.0);
    if (clip.w <= 0.0) return 1.0;
    vec2 at = clip.xy / clip.w * 0.5 + 0.5;
    if (any(lessThan(at, vec2(0.01))) || any(greaterThan(at, vec2(0.99)))) return 1.0;
    float depth = clip.w;
    float turn = noise(gl_FragCoord.xy) * 6.2831853;
    float search = light_size[i] / light_slope[i] / depth * 0.5;
    float blockers = 0.0, sum = 0.0;
    for (int k = 0; k < 10; ++k) {
        float angle = turn + 2.3999632 * k, radius = sqrt((k + 0.5) / 10.0);
        float d = stored(i, at + search * radius * vec2(cos(angle), sin(angle)));
        if (d < depth - 0.02) { blockers += 1.0; sum += d; }
    }
    if (blockers < 0.5) return 1.0;
    float blocker = sum / blockers;
    float width = search * (depth - blocker) / blocker;
    if (blockers > 9.5 && width < search) return 0.0;
    width = max(width, 0.0007);
    float open = 0.0;
    for (int k = 0; k < 16; ++k) {
        float angle = turn + 2.3999632 * k, radius = sqrt((k + 0.5) / 16.0);
        float d = stored(i, at + width * radius * vec2(cos(angle), sin(angle)));
        open += d < depth - 0.015 ? 0.0 : 1.0;
    }
    return open / 16.0;
}

vec3 display(vec3 linear_color) {
    vec3 c = exposure * linear_color;
    c = c / (1.0 + 0.18 * c) * 1.08;  // soft shoulder, so that highlights keep some color
    return pow(clamp(c, 0.0, 1.0), vec3(1.0 / 2.2));
}
"""

_FRAGMENT = (
    """
#version 330
uniform vec3 base; uniform bool textured; uniform bool bumped; uniform float bump;
uniform float gloss; uniform float glow; uniform float foreground;
uniform sampler2D color_map; uniform sampler2D normal_map;
in vec3 position; in vec3 normal; in vec2 uv;
layout(location = 0) out vec4 out_color;
layout(location = 1) out vec4 out_mask;
"""
    + _LIGHTING
    + """
// Tangent frame from screen derivatives, for meshes that store no tangents.
vec3 bumpy(vec3 n) {
    vec3 dp1 = dFdx(position), dp2 = dFdy(position);
    vec2 duv1 = dFdx(uv), duv2 = dFdy(uv);
    vec3 a = cross(dp2, n), b = cross(n, dp1);
    vec3 t = a * duv1.x + b * duv2.x, s = a * duv1.y + b * duv2.y;
    float size = max(dot(t, t), dot(s, s));
    if (size < 1e-20) return n;
    vec3 m = texture(normal_map, uv).xyz * 2.0 - 1.0;
    m.xy *= bump;
    float k = inversesqrt(size);
    return normalize(t * k * m.x - s * k * m.y + n * m.z);
}

void main() {
    vec4 texel = textured ? texture(color_map, uv) : vec4(1.0);
    if (texel.a < 0.5) discard;
    vec3 albedo = pow(base * texel.rgb, vec3(2.2));
    vec3 view = normalize(eye - position);
    vec3 n = normalize(normal);
    if (dot(n, view) < 0.0) n = -n;
    vec3 flat_normal = n;
    if (bumped) n = bumpy(n);
    vec3 light = mix(ground, sky, n.y * 0.5 + 0.5);
    vec3 shine = vec3(0.0);
    for (int i = 0; i < light_count; ++i) {
        vec3 to_light = light_place[i] - position;
        float away = length(to_light);
        vec3 l = to_light / away;
        float facing = max((dot(n, l) + 0.08) / 1.08, 0.0);
        if (facing <= 0.0) continue;
        float fall = light_reach[i] / away;
        vec3 arriving = light_color[i] * fall * fall * lit(i, position, flat_normal);
        light += arriving * facing;
        float highlight = pow(max(dot(n, normalize(l + view)), 0.0), 8.0 + 90.0 * gloss);
        shine += arriving * highlight * gloss * facing;
    }
    vec3 shown = display(albedo * (light + glow) + shine * 0.6);
    out_color = vec4(shown, 1.0);
    out_mask = vec4(foreground, 0.0, 0.0, 1.0);
}
"""
)

_STRAND_VERTEX = """
#version 330
uniform mat4 world_to_clip;
in vec3 in_position; in vec3 in_along; in vec4 in_color;
out vec3 position; out vec3 along; out vec4 color;
void main() {
    position = in_position; along = in_along; color = in_color;
    gl_Position = world_to_clip * vec4(in_position, 1.0);
}
"""

_STRAND_FRAGMENT = (
    """
#version 330
uniform float foreground;
in vec3 position; in vec3 along; in vec4 color;
layout(location = 0) out vec4 out_color;
layout(location = 1) out vec4 out_mask;
"""
    + _LIGHTING
    + """
// A hard shadow: soft ones of a million hairs take minutes, and nobody sees them.
float reached(int i, vec3 place) {
    vec4 clip = light_clip[i] * vec4(place, 1.0);
    vec2 at = clip.xy / max(clip.w, 1e-3) * 0.5 + 0.5;
    bool beyond = any(lessThan(at, vec2(0.01))) || any(greaterThan(at, vec2(0.99)));
    return clip.w <= 0.0 || beyond || stored(i, at) > clip.w - 0.03 ? 1.0 : 0.0;
}

// Kajiya and Kay's hair: brightest where the light falls across the hair.
void main() {
    vec3 albedo = pow(color.rgb, vec3(2.2));
    vec3 t = normalize(along), view = normalize(eye - position);
    vec3 light = 0.5 * (sky + ground);
    vec3 shine = vec3(0.0);
    for (int i = 0; i < light_count; ++i) {
        vec3 to_light = light_place[i] - position;
        float away = length(to_light);
        vec3 l = to_light / away;
        float fall = light_reach[i] / away;
        vec3 arriving = light_color[i] * fall * fall * reached(i, position);
        float across = sqrt(max(1.0 - pow(dot(t, l), 2.0), 0.0));
        light += arriving * across * 0.8;
        float half_angle = dot(t, normalize(l + view));
        shine += arriving * 0.08 * pow(sqrt(max(1.0 - half_angle * half_angle, 0.0)), 60.0);
    }
    out_color = vec4(display(albedo * light + shine) * color.a, color.a);
    out_mask = vec4(foreground * color.a, 0.0, 0.0, color.a);
}
"""
)

_SHADOW_FRAGMENT = """
#version 330
uniform bool textured; uniform sampler2D color_map;
in vec2 uv; in vec3 position; in vec3 normal;
out float depth;
void main() {
    if (textured && texture(color_map, uv).a < 0.5) discard;
    depth = 1.0 / gl_FragCoord.w;
}
"""

_QUAD_VERTEX = """
#version 330
in vec2 in_corner;
void main() { gl_Position = vec4(in_corner, 0.0, 1.0); }
"""

_OCCLUSION_FRAGMENT = """
#version 330
uniform sampler2D depth_map; uniform vec2 size; uniform vec2 focal; uniform vec2 center;
uniform float radius;
out float open;
vec3 at(vec2 pixel) {
    float z = texelFetch(depth_map, ivec2(clamp(pixel, vec2(0.0), size - 1.0)), 0).r;
    return vec3((pixel + 0.5 - center) / focal * z, z);
}
float noise(vec2 p) { return fract(52.9829189 * fract(dot(p, vec2(0.06711056, 0.00583715)))); }
void main() {
    vec2 p = floor(gl_FragCoord.xy);
    vec3 here = at(p);
    if (here.z <= 0.0) { open = 1.0; return; }
    // The smaller of the two one-sided differences does not cross silhouettes.
    vec3 r = at(p + vec2(1, 0)) - here, l = here - at(p - vec2(1, 0));
    vec3 d = at(p + vec2(0, 1)) - here, u = here - at(p - vec2(0, 1));
    vec3 n = normalize(cross(abs(d.z) < abs(u.z) ? d : u, abs(r.z) < abs(l.z) ? r : l));
    if (n.z > 0.0) n = -n;
    float turn = noise(p) * 6.2831853, hidden = 0.0;
    for (int k = 0; k < 24; ++k) {
        float angle = turn + 2.3999632 * k;
        float reach = radius * (k + 0.5) / 24.0;
        vec2 q = p + reach / here.z * focal * vec2(cos(angle), sin(angle));
        vec3 v = at(floor(q)) - here;
        float far = length(v);
        if (far > 1e-4) {
            float above = max(dot(n, v) / far - 0.12, 0.0);
            hidden += above * clamp(1.0 - far / (1.6 * radius), 0.0, 1.0);
        }
    }
    open = clamp(1.0 - 2.2 * hidden / 24.0, 0.0, 1.0);
}
"""


@dataclass(frozen=True)
class Light:
    """A lamp with a soft edge.

    Attributes:
        place: Metres.
        target: What it points at; its shadow map is centred there.
        color: Linear RGB that arrives at ``target``.
        size: Width of the shining surface, metres; wide lamps give soft shadows.
        angle: Opening of the shadow map, degrees; what lies outside is lit without shadows.
    """

    place: tuple[float, float, float]
    target: tuple[float, float, float]
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    size: float = 0.3
    angle: float = 90.0


@dataclass(frozen=True)
class Lighting:
    """All the light of a scene: ambient from above and below (linear RGB), lamps, exposure."""

    sky: tuple[float, float, float] = (0.4, 0.4, 0.4)
    ground: tuple[float, float, float] = (0.25, 0.25, 0.25)
    lights: tuple[Light, ...] = ()
    exposure: float = 1.0
    occlusion: float = 0.0


@dataclass(frozen=True)
class Viewpoint:
    """Where a camera stands.

    Attributes:
        place: Metres.
        target: What is in the middle of the picture.
        roll: Turn about the line of sight, radians.
    """

    place: tuple[float, float, float]
    target: tuple[float, float, float]
    roll: float = 0.0


@dataclass(frozen=True)
class Picture:
    """What came out.

    Attributes:
        color: H×W×3 uint8 RGB, straight (not premultiplied).
        coverage: H×W float32, share of each pixel that anything covers, 0 to 1.
        foreground: H×W float32, share that foreground meshes and strands cover.
        depth: H×W float32 along the optical axis, metres, 0 where nothing is.
    """

    color: NDArray[np.uint8]
    coverage: NDArray[np.float32]
    foreground: NDArray[np.float32]
    depth: NDArray[np.float32]


def world_to_camera(view: Viewpoint) -> NDArray[np.float64]:
    """4×4 matrix to camera axes: x right, y down, z forward (metres)."""
    place, target = np.array(view.place, float), np.array(view.target, float)
    forward = target - place
    forward /= np.linalg.norm(forward)
    hint = np.array([0.0, 1.0, 0.0])
    if abs(forward @ hint) > 0.999:
        hint = np.array([0.0, 0.0, 1.0])
    right = np.cross(forward, hint)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(view.roll), np.sin(view.roll)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([c * right + s * down, c * down - s * right, forward])
    matrix[:3, 3] = -matrix[:3, :3] @ place
    return matrix


def projection(camera: Camera) -> NDArray[np.float64]:
    """4×4 matrix from camera axes to OpenGL's clip space, row 0 of the image at the bottom.

    Reading the framebuffer gives the lowest row first, so an upside-down image comes out upright.
    """
    width, height = camera.width, camera.height
    return np.array(
        [
            [2 * camera.fx / width, 0, 2 * (camera.cx + 0.5) / width - 1, 0],
            [0, 2 * camera.fy / height, 2 * (camera.cy + 0.5) / height - 1, 0],
            [0, 0, (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)],
            [0, 0, 1, 0],
        ]
    )


class Rasterizer:
    """An OpenGL context with the programs and buffers to draw pictures of one size.

    Use as a context manager or call :meth:`release`.

    Args:
        samples: Supersampling per axis; an odd number takes the depth in the pixel's middle.

    Raises:
        FitError: moderngl or a working EGL driver is missing.
    """

    def __init__(self, samples: int = 3) -> None:
        try:
            import moderngl
        except ImportError as error:
            raise FitError("Rendering needs moderngl: pip install moderngl") from error
        try:
            options: dict[str, Any] = {"backend": "egl"}
            self._context: Any = moderngl.create_context(standalone=True, **options)
        except Exception as error:  # moderngl and glcontext raise plain Exceptions
            raise FitError(
                "No OpenGL without a window: install libegl1 and libgl1-mesa-dri (Mesa)."
            ) from error
        self._gl: Any = moderngl
        self.samples = samples
        context = self._context
        self._scene = context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
        self._hair = context.program(vertex_shader=_STRAND_VERTEX, fragment_shader=_STRAND_FRAGMENT)
        self._shadow = context.program(vertex_shader=_VERTEX, fragment_shader=_SHADOW_FRAGMENT)
        self._occlusion = context.program(
            vertex_shader=_QUAD_VERTEX, fragment_shader=_OCCLUSION_FRAGMENT
        )
        self._maps = [self._shadow_buffer() for _ in range(MAX_LIGHTS)]
        self._textures: dict[int, tuple[NDArray[np.uint8], Any]] = {}
        self._target: tuple[tuple[int, int], Any] | None = None
        self._fullscreen = context.buffer(
            np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32).tobytes()
        )

    def __enter__(self) -> Rasterizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the context and all its memory back."""
        self._context.release()

    def forget_textures(self) -> None:
        """Drop all uploaded textures; call it between people to save memory."""
        for _, texture in self._textures.values():
            texture.release()
        self._textures.clear()

    def draw(
        self,
        camera: Camera,
        view: Viewpoint,
        meshes: Sequence[Mesh],
        lighting: Lighting,
        strands: Sequence[Strands] = (),
    ) -> Picture:
        """Draw a picture.

        Args:
            camera: Size and intrinsics; the principal point counts from pixel centres.
            view: Where the camera stands.
            meshes: Opaque triangles.
            lighting: At most ``MAX_LIGHTS`` lamps.
            strands: Hairs over the meshes.

        Raises:
            FitError: Too many lamps.
        """
        if len(lighting.lights) > MAX_LIGHTS:
            raise FitError(f"A scene can have {MAX_LIGHTS} lamps at most: take some away.")
        solid = [m for m in meshes if m.material.opacity >= _GLASS and len(m.triangles)]
        buffers = [self._upload(m) for m in solid]
        try:
            self._draw_shadows(solid, buffers, lighting)
            color, mask, depth = self._draw_scene(camera, view, solid, buffers, lighting, strands)
        finally:
            for pair in buffers:
                for buffer in pair:
                    buffer.release()
        picture = _resolve(color, mask, depth, self.samples)
        if lighting.occlusion > 0:
            shade = 1 - lighting.occlusion * (1 - self._open(camera, picture.depth))
            shaded = np.clip(picture.color * shade[..., None], 0, 255).astype(np.uint8)
            picture = Picture(shaded, picture.coverage, picture.foreground, picture.depth)
        return picture

    def _shadow_buffer(self) -> tuple[Any, Any]:
        size = (_SHADOW_SIZE, _SHADOW_SIZE)
        texture = self._context.texture(size, 1, dtype="f4")
        texture.filter = (self._gl.NEAREST, self._gl.NEAREST)
        texture.repeat_x = texture.repeat_y = False
        depth = self._context.depth_renderbuffer(size)
        return texture, self._context.framebuffer([texture], depth)

    def _upload(self, mesh: Mesh) -> tuple[Any, Any]:
        rows = np.concatenate([mesh.positions, mesh.normals, mesh.uvs], 1).astype(np.float32)
        indices = mesh.triangles.astype(np.uint32)
        return self._context.buffer(rows.tobytes()), self._context.buffer(indices.tobytes())

    def _texture(self, pixels: NDArray[np.uint8]) -> Any:
        if id(pixels) not in self._textures:
            height, width = pixels.shape[:2]
            texture = self._context.texture((width, height), 4, np.ascontiguousarray(pixels))
            texture.build_mipmaps()
            texture.filter = (self._gl.LINEAR_MIPMAP_LINEAR, self._gl.LINEAR)
            texture.anisotropy = 4.0
            self._textures[id(pixels)] = (pixels, texture)
        return self._textures[id(pixels)][1]

    def _render(self, program: Any, pair: tuple[Any, Any], names: tuple[str, ...]) -> None:
        layout = [(n if n in program else None) for n in names]
        parts = [
            (size if name else f"{int(size[0]) * 4}x", name)
            for size, name in zip(("3f", "3f", "2f"), layout, strict=True)
        ]
        vertices, indices = pair
        array = self._context.vertex_array(
            program,
            [(vertices, " ".join(p for p, _ in parts), *[n for _, n in parts if n])],
            indices,
            index_element_size=4,
        )
        array.render()
        array.release()

    def _draw_shadows(
        self, meshes: list[Mesh], buffers: list[tuple[Any, Any]], lighting: Lighting
    ) -> None:
        for light, (_, target) in zip(lighting.lights, self._maps, strict=False):
            target.use()
            self._context.viewport = (0, 0, _SHADOW_SIZE, _SHADOW_SIZE)
            target.clear(red=1e6)
            self._context.enable_only(self._gl.DEPTH_TEST)
            _set(self._shadow, "world_to_clip", _light_matrix(light))
            for mesh, pair in zip(meshes, buffers, strict=True):
                if mesh.casts_shadow:
                    self._draw_depth(mesh, pair)

    def _draw_depth(self, mesh: Mesh, pair: tuple[Any, Any]) -> None:
        texture = mesh.material.texture
        _put(self._shadow, "textured", texture is not None)
        if texture is not None:
            self._texture(texture).use(0)
            _put(self._shadow, "color_map", 0)
        self._render(self._shadow, pair, ("in_position", "in_normal", "in_uv"))

    def _framebuffer(self, width: int, height: int) -> Any:
        if self._target is None or self._target[0] != (width, height):
            if self._target is not None:
                for part in (*self._target[1].color_attachments, self._target[1]):
                    part.release()
            size = (width, height)
            color = self._context.texture(size, 4)
            mask = self._context.texture(size, 1)
            depth = self._context.depth_texture(size)
            self._target = (size, self._context.framebuffer([color, mask], depth))
        return self._target[1]

    def _draw_scene(
        self,
        camera: Camera,
        view: Viewpoint,
        meshes: list[Mesh],
        buffers: list[tuple[Any, Any]],
        lighting: Lighting,
        strands: Sequence[Strands],
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
        width, height = camera.width * self.samples, camera.height * self.samples
        target = self._framebuffer(width, height)
        target.use()
        self._context.viewport = (0, 0, width, height)
        target.clear(0.0, 0.0, 0.0, 0.0)
        self._context.enable_only(self._gl.DEPTH_TEST)
        matrix = projection(camera) @ world_to_camera(view)
        for program in (self._scene, self._hair):
            _set(program, "world_to_clip", matrix)
            self._set_lights(program, lighting, view)
        # Depth first, so that the costly light is worked out for visible samples only.
        _set(self._shadow, "world_to_clip", matrix)
        target.color_mask = ((False,) * 4,) * 2
        for mesh, pair in zip(meshes, buffers, strict=True):
            self._draw_depth(mesh, pair)
        target.color_mask = ((True,) * 4,) * 2
        target.depth_mask = False
        self._context.depth_func = "<="
        for mesh, pair in zip(meshes, buffers, strict=True):
            self._set_material(mesh)
            self._render(self._scene, pair, ("in_position", "in_normal", "in_uv"))
        self._context.enable_only(self._gl.DEPTH_TEST | self._gl.BLEND)
        self._context.blend_func = (self._gl.ONE, self._gl.ONE_MINUS_SRC_ALPHA)
        # The depth stays as it is: a depth camera sees no single hair.
        for group in strands:
            self._draw_strands(camera, view, group)
        target.depth_mask = True
        self._context.depth_func = "<"
        color = np.frombuffer(target.read(components=4, attachment=0), np.uint8)
        mask = np.frombuffer(target.read(components=1, attachment=1), np.uint8)
        raw = np.frombuffer(target.read(components=1, attachment=-1, dtype="f4"), np.float32)
        ndc = raw.reshape(height, width) * 2 - 1
        depth = (2 * FAR * NEAR) / (FAR + NEAR - ndc * (FAR - NEAR))
        depth[raw.reshape(height, width) >= 1.0] = 0.0
        return (
            color.reshape(height, width, 4),
            mask.reshape(height, width),
            depth.astype(np.float32),
        )

    def _set_lights(self, program: Any, lighting: Lighting, view: Viewpoint) -> None:
        count = len(lighting.lights)
        spare = Light((0.0, 1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
        lights = [*lighting.lights, *[spare] * (MAX_LIGHTS - count)]
        ways = [np.subtract(light.target, light.place) for light in lights]
        _put(program, "light_count", count)
        _put(program, "light_place", [light.place for light in lights])
        _put(program, "light_color", [light.color for light in lights])
        _put(program, "light_reach", [float(np.linalg.norm(way)) for way in ways])
        _put(program, "light_size", [light.size for light in lights])
        _put(program, "light_slope", [float(np.tan(np.deg2rad(li.angle / 2))) for li in lights])
        if "light_clip" in program:
            stacked = np.concatenate([_light_matrix(light).T.ravel() for light in lights])
            program["light_clip"].write(stacked.astype(np.float32).tobytes())
        _put(program, "shadow_map", list(range(4, 4 + MAX_LIGHTS)))
        for i, (texture, _) in enumerate(self._maps):
            texture.use(4 + i)
        _put(program, "sky", lighting.sky)
        _put(program, "ground", lighting.ground)
        _put(program, "eye", view.place)
        _put(program, "exposure", lighting.exposure)

    def _set_material(self, mesh: Mesh) -> None:
        material, program = mesh.material, self._scene
        _put(program, "base", material.color)
        _put(program, "gloss", material.gloss)
        _put(program, "glow", material.glow)
        _put(program, "foreground", float(mesh.foreground))
        _put(program, "textured", material.texture is not None)
        _put(program, "bumped", material.normal_map is not None)
        _put(program, "bump", material.strength)
        _put(program, "color_map", 0)
        _put(program, "normal_map", 1)
        if material.texture is not None:
            self._texture(material.texture).use(0)
        if material.normal_map is not None:
            self._texture(material.normal_map).use(1)

    def _draw_strands(self, camera: Camera, view: Viewpoint, group: Strands) -> None:
        points = group.points.astype(np.float64)
        if not len(points):
            return
        along = np.gradient(points, axis=1)
        # A line is one sample wide: a hair thinner than that covers it in part.
        place = world_to_camera(view)
        z = np.maximum(points @ place[2, :3] + place[2, 3], NEAR)
        cover = np.clip(group.width * camera.fx * self.samples / z, 0.0, 1.0)
        fade = np.linspace(1.0, 0.35, points.shape[1])[None]
        colors = np.repeat(group.colors[:, None], points.shape[1], 1)
        rows = np.concatenate([points, along, colors, (cover * fade)[..., None]], 2)
        segments = np.stack([rows[:, :-1], rows[:, 1:]], 2).reshape(-1, 10)
        buffer = self._context.buffer(segments.astype(np.float32).tobytes())
        array = self._context.vertex_array(
            self._hair, [(buffer, "3f 3f 4f", "in_position", "in_along", "in_color")]
        )
        _put(self._hair, "foreground", float(group.foreground))
        array.render(self._gl.LINES)
        array.release()
        buffer.release()

    def _open(self, camera: Camera, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Share of the surroundings that each pixel sees (screen-space ambient occlusion)."""
        height, width = depth.shape
        source = self._context.texture((width, height), 1, np.ascontiguousarray(depth), dtype="f4")
        source.filter = (self._gl.NEAREST, self._gl.NEAREST)
        result = self._context.texture((width, height), 1, dtype="f4")
        target = self._context.framebuffer([result])
        target.use()
        self._context.viewport = (0, 0, width, height)
        self._context.enable_only(self._gl.NOTHING)
        source.use(0)
        program = self._occlusion
        _put(program, "depth_map", 0)
        _put(program, "size", (float(width), float(height)))
        _put(program, "focal", (camera.fx, camera.fy))
        _put(program, "center", (camera.cx + 0.5, camera.cy + 0.5))
        _put(program, "radius", 0.35)
        array = self._context.vertex_array(program, [(self._fullscreen, "2f", "in_corner")])
        array.render(self._gl.TRIANGLE_STRIP)
        shade = np.frombuffer(target.read(components=1, dtype="f4"), np.float32)
        for part in (array, target, result, source):
            part.release()
        shade = shade.reshape(height, width).copy()
        # Blur without crossing depth steps: only pixels at about the same distance count.
        close = np.log(np.maximum(depth, NEAR)).astype(np.float32) * 8
        return np.asarray(_joint_blur(shade, close), np.float32)


def _joint_blur(values: NDArray[np.float32], guide: NDArray[np.float32]) -> NDArray[np.float32]:
    total = np.zeros_like(values)
    weight = np.zeros_like(values)
    padded_values = np.pad(values, 3, mode="edge")
    padded_guide = np.pad(guide, 3, mode="edge")
    height, width = values.shape
    for dy in range(0, 7):
        for dx in range(0, 7):
            near = padded_guide[dy : dy + height, dx : dx + width]
            w = np.exp(-np.square((near - guide) / 0.25))
            total += w * padded_values[dy : dy + height, dx : dx + width]
            weight += w
    return total / weight


def _put(program: Any, name: str, value: Any) -> None:
    """Set a uniform; the compiler removes the ones that a program doesn't need."""
    if name in program:
        program[name].value = value


def _set(program: Any, name: str, matrix: NDArray[np.float64]) -> None:
    if name in program:
        program[name].write(matrix.T.astype(np.float32).tobytes())


def _light_matrix(light: Light) -> NDArray[np.float64]:
    focal = 0.5 * _SHADOW_SIZE / np.tan(np.deg2rad(light.angle / 2))
    middle = (_SHADOW_SIZE - 1) / 2
    camera = Camera(_SHADOW_SIZE, _SHADOW_SIZE, focal, focal, middle, middle)
    return projection(camera) @ world_to_camera(Viewpoint(light.place, light.target))


def _resolve(
    color: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    depth: NDArray[np.float32],
    samples: int,
) -> Picture:
    """Box filter from samples to pixels; straight color, depth of the middle or nearest sample."""
    height, width = mask.shape[0] // samples, mask.shape[1] // samples
    size = (width, height)
    # Area averaging over whole blocks is exact; float keeps the sums unrounded.
    mean = cv2.resize(color.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    cover = mean[..., 3] / 255.0
    straight = mean[..., :3] / np.maximum(cover, 1e-6)[..., None]
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) / 255.0
    blocks = depth.reshape(height, samples, width, samples).transpose(0, 2, 1, 3)
    blocks = blocks.reshape(height, width, -1)
    middle = blocks[..., blocks.shape[-1] // 2]
    nearest = np.where(blocks > 0, blocks, np.inf).min(-1)
    filled = np.where(middle > 0, middle, np.where(np.isfinite(nearest), nearest, 0.0))
    return Picture(
        color=np.clip(np.rint(straight), 0, 255).astype(np.uint8),
        coverage=np.clip(cover, 0, 1).astype(np.float32),
        foreground=np.clip(share, 0, 1).astype(np.float32),
        depth=filled.astype(np.float32),
    )
