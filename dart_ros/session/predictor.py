"""The predictor: a scene and an engine, from a frame to its matte."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError, SceneError
from dart_ros.method.blind_sides import BlindSides, blind_sides, extrapolate_depth
from dart_ros.method.geometry import REFINED_SHARE, tile_count
from dart_ros.runtime.depth_evidence import DepthEvidence
from dart_ros.runtime.engine import Engine, create_engine, must_build, must_compile
from dart_ros.runtime.outlines import smoothed, without_specks
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.temporal_filter import TemporalFilter
from dart_ros.runtime.tone_curve import SteadyTones, ToneCurve, in_table, inverse, table
from dart_ros.runtime.trimap import CpuTrimap
from dart_ros.runtime.unknown_region import reach_of, widened
from dart_ros.runtime.weights import NetworkWeights, load_weights
from dart_ros.session.foreground import without_room
from dart_ros.session.registration import registered
from dart_ros.session.scene import Scene
from dart_ros.session.scene_mask import MaskedAlpha
from dart_ros.values import Frame, Matte


@dataclass(frozen=True, eq=False)
class _Prepared:
    """All that depends on the background, made before it is used."""

    background: CapturedBackground
    use_in_engine: Callable[[], None] | None  # None where the engine was made with it
    sides: BlindSides
    evidence: DepthEvidence
    tones: ToneCurve | None  # None for a network that takes no light out
    trimap: CpuTrimap


@dataclass(frozen=True, eq=False)
class Inferred:
    """A frame that the engine is done with, for :meth:`Predictor.finish`.

    Attributes:
        frame: the frame, its depth registered to color.
        color: its color in the plate's tones.
        depth: the same with guesses at blind sides.
        matte: as the engine made it, its foreground in the frame's own tones.
        before: the background that it was matted before.
    """

    frame: Frame
    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    matte: Matte
    before: _Prepared


@dataclass(eq=False)
class _SharedEngine:
    """An engine, and the background that is in it."""

    engine: Engine
    used: _Prepared


class Predictor:
    """Mattes the frames of one scene. Building one takes seconds; use one thread at a time.

    A frame takes two steps, :meth:`infer` and :meth:`finish`. Each has a state of its own, so one
    thread may be at the second while another is at the next frame's first.

    Args:
        scene: the captured background, with fitted weights or without.
        backend: an engine's name (:data:`dart_ros.runtime.engine.BACKENDS`) or ``auto``.
        refine_fraction: share of a 640×480 image that is refined at full size, above 0 and up to
            1, see :func:`dart_ros.method.geometry.tile_count`.
        threads: CPU threads, 0 for as many as there are cores.
        weights: other weights than the generic ones or those that were fitted to the scene.
        ready_only: pass TensorRT by where its engine must be built first, which can take minutes.
        compile_apart: called where the engine must be compiled first, to do that in a process of
            its own; what it leaves in the cache is used.
        video: whether frames follow each other: alpha is then steadied over time where nothing
            moves, see :mod:`dart_ros.runtime.temporal_filter`.

    Attributes:
        scene: the scene.
        backend: the engine that really runs.
        notes: why engines that would have been preferred do not run.
        improvable: whether a predictor that waits for TensorRT's build would be faster.

    Raises:
        EngineError: if no engine can be built, or by ``compile_apart``.
        FitError: if the scene's weights are not this network's.
    """

    def __init__(
        self,
        scene: Scene,
        backend: str = "auto",
        refine_fraction: float = REFINED_SHARE,
        threads: int = 0,
        weights: NetworkWeights | None = None,
        ready_only: bool = False,
        compile_apart: Callable[[], None] | None = None,
        video: bool = True,
    ) -> None:
        self.scene = scene
        camera = scene.camera
        try:
            tiles = tile_count(camera.height, camera.width, refine_fraction)
        except ValueError as error:
            raise EngineError(str(error)) from error
        weights, background = weights or weights_of(scene), background_of(scene)
        self.improvable = ready_only and must_build(weights, background, tiles, backend)
        if compile_apart is not None and must_compile(weights, background, tiles, backend):
            compile_apart()
        engine, self.notes = create_engine(weights, background, tiles, backend, threads, ready_only)
        self.backend = engine.name
        self._own_weights = weights.digest
        self._light = weights.config.depth_in_light
        self._video = video
        first = _prepared(background, None, self._light)
        self._begin(_SharedEngine(engine, first), first)

    def _begin(self, engine: _SharedEngine, first: _Prepared) -> None:
        camera = self.scene.camera
        self._engine, self._next = engine, first
        self._filter = TemporalFilter((camera.height, camera.width))
        self._tones = SteadyTones()
        self._setting = threading.Lock()
        self._mask = MaskedAlpha(self.scene.mask)

    def for_scene(self, scene: Scene) -> Predictor | None:
        """A predictor of another scene that shares this one's engine: it is made in the time of a
        frame. Both can be used from then on, in one thread.

        Args:
            scene: any.

        Returns:
            None if the scene needs an engine of its own: it is of another size, or has weights of
            its own.
        """
        mine = self.scene.camera
        if (scene.camera.width, scene.camera.height) != (mine.width, mine.height):
            return None
        if weights_of(scene).digest != self._own_weights:
            return None
        with self._setting:
            if self._next.use_in_engine is None:
                # The engine was made with this background, and will have to be given it again.
                prepare = self._engine.engine.prepare(self._next.background)
                again = replace(self._next, use_in_engine=prepare)
                if self._engine.used is self._next:
                    self._engine.used = again
                self._next = again
        made = copy.copy(self)
        made.scene = scene
        background = background_of(scene)
        first = _prepared(background, self._engine.engine.prepare(background), self._light)
        made._begin(self._engine, first)
        return made

    @property
    def background(self) -> CapturedBackground:
        """What frames are matted before: the scene's, or the last of :meth:`set_background`."""
        return self._next.background

    def set_background(
        self, background: CapturedBackground, replaces: CapturedBackground | None = None
    ) -> bool:
        """Mattes all frames that :meth:`predict` begins from now on before another background.

        For any thread: what takes long (about a tenth of a second) is done in the caller's, and
        each frame is matted before one background as a whole. Where two threads set one, that of
        the later end counts.

        Args:
            background: of the scene's size; its arrays must not be changed any more.
            replaces: the one that it was made of, in whose place alone it comes.

        Returns:
            False if another background than ``replaces`` is in use by now, which stays.

        Raises:
            SceneError: if it is of another size.
        """
        height, width = background.mean.shape
        camera = self.scene.camera
        if (width, height) != (camera.width, camera.height):
            raise SceneError(
                f"a background of {width}x{height} can't take the place of scene "
                f"{self.scene.name!r}, which is {camera.width}x{camera.height}"
            )
        prepared = _prepared(background, self._engine.engine.prepare(background), self._light)
        with self._setting:
            if replaces is not None and replaces is not self._next.background:
                return False
            self._next = prepared
        return True

    def set_mask(self, mask: NDArray[np.uint8] | None) -> None:
        """Has all frames from now on be always background, or always foreground, in places; for any
        thread.

        Args:
            mask: as a scene has it, None for nowhere.
        """
        self._mask = MaskedAlpha(mask)

    def predict(self, frame: Frame, trimap: bool = True, foreground: bool = True) -> Matte:
        """Mattes one frame, in both steps.

        Args:
            frame: a frame of the scene's camera.
            trimap: whether the trimap is wanted too.
            foreground: whether the foreground's color is wanted too.

        Raises:
            SceneError: if the frame's size is not the scene's.
            EngineError: if the engine fails.
        """
        return self.finish(self.infer(frame, foreground), trimap)

    def infer(self, frame: Frame, foreground: bool = True) -> Inferred:
        """Has the engine matte one frame; see :meth:`predict`."""
        camera = self.scene.camera
        for image, shape in (("color", frame.color.shape[:2]), ("depth", frame.depth.shape)):
            if shape != (camera.height, camera.width):
                raise SceneError(
                    f"the frame's {image} is {'x'.join(map(str, shape[::-1]))}, the scene "
                    f"{self.scene.name!r} was captured at {camera.width}x{camera.height}: capture "
                    "the background again at this size"
                )
        used = self._next
        if used is not self._engine.used and used.use_in_engine is not None:
            used.use_in_engine()
            self._engine.used = used
        frame = registered(frame, self.scene.depth_offset)
        depth = extrapolate_depth(frame.depth, used.sides)
        levels = self._levels(frame, used)
        color = frame.color if levels is None else in_table(frame.color, levels)
        matte = self._engine.engine.run(color, depth, foreground)
        if levels is not None and matte.foreground is not None:
            matte = replace(matte, foreground=in_table(matte.foreground, inverse(levels)))
        return Inferred(frame, color, depth, matte, used)

    def _levels(self, frame: Frame, used: _Prepared) -> NDArray[np.uint8] | None:
        """The table of the frame's tones, None where it needs none."""
        if used.tones is None:
            return None
        if not self._video:
            self._tones.reset()
        tones = self._tones(used.tones.tones(frame.color, frame.depth), frame.stamp)
        return None if tones is None else table(tones)

    def finish(self, inferred: Inferred, trimap: bool = True) -> Matte:
        """The matte of a frame, its outlines cleaned, corrected by depth and steadied over time.

        Args:
            inferred: by :meth:`infer`, each once and in the order of the frames.
            trimap: whether the trimap is wanted too.
        """
        frame, depth, before = inferred.frame, inferred.depth, inferred.before
        if not self._video:
            self._filter.reset()
        evidence = before.evidence(inferred.color, depth)
        mask = self._mask
        # Specks first, which smoothing would leave faint; then those that steadying leaves.
        alpha = smoothed(without_specks(inferred.matte.alpha))
        alpha = without_specks(self._filter(frame.color, evidence, alpha, frame.stamp))
        alpha = mask.alpha(alpha)
        color = inferred.matte.foreground
        if color is not None:
            color = mask.color(without_room(color, alpha), frame.color)
        unknown = None
        if trimap:
            changed = before.evidence.changed(evidence)
            reach = reach_of(alpha, depth, frame.camera)
            unknown = mask.alpha(widened(before.trimap(alpha, depth), alpha, changed, reach))
        return Matte(alpha, color, unknown)


def _prepared(
    background: CapturedBackground, use_in_engine: Callable[[], None] | None, light: bool
) -> _Prepared:
    plate, mean, std, known = background.plate, background.mean, background.std, background.known
    evidence = DepthEvidence(plate, mean, std, known)
    tones = ToneCurve(plate, mean, std, known, background.restless) if light else None
    return _Prepared(
        background, use_in_engine, blind_sides(known), evidence, tones, CpuTrimap(mean, std)
    )


def weights_of(scene: Scene) -> NetworkWeights:
    """The generic weights, or those that were fitted to the scene.

    Raises:
        FitError: if the scene's are of another network.
    """
    generic = load_weights()
    return generic if scene.weights is None else generic.fitted(scene.weights)


def background_of(scene: Scene) -> CapturedBackground:
    """The scene as the engines take it."""
    known = scene.depth_count > 0
    return CapturedBackground(
        scene.plate, scene.depth_mean, scene.depth_std, known, scene.restless_color()
    )
