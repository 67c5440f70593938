from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
import torch

from dart_ros.errors import DartError, EngineError, FitError, SceneError
from dart_ros.fitting.weights import deployed, save_network, weights_of
from dart_ros.method.config import NetworkConfig
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.method.trimap import depth_corrected_alpha, trimap
from dart_ros.runtime import engine as engine_module
from dart_ros.runtime.depth_evidence import DepthEvidence
from dart_ros.runtime.outlines import smoothed, without_specks
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.temporal_filter import LONGEST_GAP, TemporalFilter
from dart_ros.session import predictor as session_predictor
from dart_ros.session.predictor import Predictor, background_of
from dart_ros.session.scene import Scene
from dart_ros.values import Camera, Frame, Matte

Made = TypeVar("Made")

HEIGHT, WIDTH = 61, 97
CAMERA = Camera(WIDTH, HEIGHT, 90.0, 90.0, 48.0, 30.0)


def seeded(seed: int) -> MattingNetwork:
    torch.manual_seed(seed)
    network = MattingNetwork().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # Else the signal dies out in the depth of a network that has learnt nothing.
            module.running_var.fill_(0.1)
    return network


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads wait for each other on a machine that does other things as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def generic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Random weights in the place of those that ship."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_network(seeded(1), path, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dart_ros.runtime.weights.generic_weights_path", lambda: path)
        yield


def make_scene(fitted: dict[str, np.ndarray] | None = None) -> Scene:
    random = np.random.default_rng(0)
    count = np.full((HEIGHT, WIDTH), 30, np.uint16)
    count[40:, :20] = 0
    mean = np.where(count > 0, 3.0, 5.46).astype(np.float32)
    return Scene(
        name="lab",
        id="lab-20240101T000000Z-000000",
        camera=CAMERA,
        plate=random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
        depth_mean=mean,
        depth_std=(0.01 * mean).astype(np.float32),
        depth_count=count,
        frames=30,
        captured_at="2024-01-01T00:00:00Z",
        max_depth=5.46,
        weights=fitted,
    )


def make_frame(scene: Scene) -> Frame:
    color, depth = scene.plate.copy(), scene.depth_mean.copy()
    color[10:, 30:60] = (200, 40, 30)
    depth[10:, 30:60] = 1.2
    depth[scene.depth_count == 0] = -1
    return Frame(color, depth, 5, CAMERA)


def by_network(
    network: MattingNetwork, scene: Scene, frame: Frame, tiles: int | None
) -> np.ndarray:
    """Alpha of the network itself, in bytes."""

    def image(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.astype(np.float32).reshape(1, 1, HEIGHT, WIDTH))

    def color(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((array / np.float32(255)).transpose(2, 0, 1)[None].copy())

    background = Background(
        color(scene.plate),
        image(scene.depth_mean),
        image(scene.depth_std),
        image(scene.depth_count > 0),
        image(scene.restless_color()),
    )
    for parameter in network.state_dict().values():
        if parameter.is_floating_point():
            parameter.copy_(parameter.half())  # as stored
    with torch.inference_mode():
        alpha = network(color(frame.color), image(frame.depth), background, tiles).alpha
    return np.floor(alpha[0, 0].numpy() * 255 + 0.5).astype(np.uint8)


def by_hand(network: MattingNetwork, scene: Scene, frame: Frame, tiles: int | None) -> np.ndarray:
    """The same, its outlines cleaned, corrected where depth is sure."""
    evidence = DepthEvidence(scene.plate, scene.depth_mean, scene.depth_std, scene.depth_count > 0)
    found = evidence(frame.color, frame.depth)
    cleaned = smoothed(without_specks(by_network(network, scene, frame, tiles)))
    return without_specks(TemporalFilter((HEIGHT, WIDTH))(frame.color, found, cleaned, 0))


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    difference = np.abs(found.astype(int) - expected)
    # Of one level before outlines were sharpened.
    return bool(difference.max() <= 2 and (difference > 0).mean() < 0.002)


@pytest.fixture(scope="module")
def predictor(generic: None) -> Predictor:
    return Predictor(make_scene(), "torch", threads=1, video=False)


def test_a_matte_is_the_networks(predictor: Predictor) -> None:
    frame = make_frame(predictor.scene)
    matte = predictor.predict(frame)
    assert predictor.backend.startswith("torch (") and predictor.notes == ()
    assert matte.alpha.shape == (HEIGHT, WIDTH) and matte.alpha.dtype == np.uint8
    assert matte.foreground.shape == (HEIGHT, WIDTH, 3) and matte.foreground.dtype == np.uint8
    nothing = matte.alpha == 0
    assert nothing.any() and not matte.foreground[nothing].any()
    # A quarter of 4 x 7 tiles.
    assert close(matte.alpha, by_hand(seeded(1), predictor.scene, frame, 7))


def test_the_trimap_comes_from_the_matte_and_the_depth(predictor: Predictor) -> None:
    frame = make_frame(predictor.scene)
    matte = predictor.predict(frame)
    values = (
        torch.from_numpy(array.astype(np.float32))[None, None]
        for array in (
            matte.alpha / np.float32(255),
            frame.depth,
            predictor.scene.depth_mean,
            predictor.scene.depth_std,
        )
    )
    level = trimap(depth_corrected_alpha(*values))[0, 0].numpy()
    expected = np.select([level == 0, level == 0.5], [0, 128], 255)
    assert matte.trimap is not None
    # More may be unknown, see test_unknown_region.py.
    assert ((matte.trimap != expected) & (matte.trimap != 128)).mean() < 0.002
    assert (matte.trimap[expected == 128] == 128).mean() > 0.99
    without = predictor.predict(frame, trimap=False)
    assert without.trimap is None
    assert np.array_equal(without.alpha, matte.alpha)


def test_depth_is_continued_into_blind_sides(generic: None) -> None:
    """Somebody stands across columns that the depth camera never sees."""
    scene = make_scene()
    for side in (slice(8), slice(-6, None)):
        scene.depth_count[:, side] = 0
        scene.depth_mean[:, side] = 5.46
    frame = make_frame(scene)
    frame.depth[10:, 8:25] = 1.2
    guessed = frame.depth.copy()
    guessed[10:, :8] = -1 - 1.2
    guessed[:10, :8] = -1 - frame.depth[:10, 8:9]
    guessed[:, -6:] = -1 - frame.depth[:, -7:-6]
    given = frame.depth.copy()
    frame.depth.flags.writeable = False
    found = Predictor(scene, "torch", refine_fraction=1.0, threads=1).predict(frame).alpha
    assert np.array_equal(frame.depth, given)
    assert close(found, by_hand(seeded(1), scene, replace(frame, depth=guessed), None))
    assert not close(found, by_hand(seeded(1), scene, frame, None))


def test_fitted_weights_are_the_ones_used(predictor: Predictor) -> None:
    scene = make_scene(weights_of(seeded(2)))
    frame = make_frame(scene)
    found = Predictor(scene, "torch", refine_fraction=1.0, threads=1).predict(frame).alpha
    assert close(found, by_hand(seeded(2), scene, frame, None))
    assert not close(found, by_hand(seeded(1), scene, frame, None))


def test_weights_of_another_network_are_refused() -> None:
    fitted = weights_of(seeded(2))
    del fitted["refiner.stage2.1.bias"]
    with pytest.raises(FitError, match="the scene's fitted weights"):
        Predictor(make_scene(fitted), "torch")


def test_openvino_gives_nearly_the_same() -> None:
    pytest.importorskip("openvino")
    scene = make_scene()
    predictor = Predictor(scene, refine_fraction=1.0, threads=1)
    assert predictor.backend.startswith("openvino (")
    assert len(predictor.notes) == 1 and "no NVIDIA GPU" in predictor.notes[0]
    frame = make_frame(scene)
    expected = by_network(seeded(1), scene, frame, None)
    difference = np.abs(predictor.infer(frame).matte.alpha.astype(int) - expected)
    assert difference.mean() < 2 and difference.max() <= 24


def test_without_openvino_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    scene = make_scene()
    predictor = Predictor(scene, threads=1)
    assert predictor.backend.startswith(("onnxruntime (", "torch ("))
    assert "OpenVINO can't be imported" in predictor.notes[1]
    assert predictor.predict(make_frame(scene)).alpha.any()


@pytest.mark.parametrize(
    ("color", "depth", "words"),
    [
        ((48, 64, 3), (48, 64), "color is 64x48.*'lab'.*97x61.*capture the background again"),
        ((HEIGHT, WIDTH, 3), (48, 64), "depth is 64x48"),
        ((48, 64, 3), (HEIGHT, WIDTH), "color is 64x48"),
        # The network would pad both to the same size.
        ((HEIGHT - 1, WIDTH, 3), (HEIGHT - 1, WIDTH), "color is 97x60"),
        ((HEIGHT, WIDTH, 3), (HEIGHT, WIDTH, 1), "depth is 1x97x61"),
    ],
)
def test_a_frame_of_another_size_is_refused(
    predictor: Predictor, color: tuple[int, ...], depth: tuple[int, ...], words: str
) -> None:
    frame = Frame(np.zeros(color, np.uint8), np.ones(depth, np.float32), 0, CAMERA)
    with pytest.raises(SceneError, match=words):
        predictor.predict(frame)


def test_a_video_is_steadied_and_frames_apart_are_not(generic: None) -> None:
    scene = make_scene()
    frame = make_frame(scene)
    unseen = replace(frame, depth=np.full_like(frame.depth, -1))
    changed = replace(unseen, stamp=frame.stamp + 33_000_000, depth=frame.depth)
    video, apart = (
        Predictor(scene, "torch", threads=1, video=together) for together in (True, False)
    )
    first = video.predict(unseen).alpha
    assert np.array_equal(first, apart.predict(unseen).alpha)
    alone = apart.predict(changed).alpha
    steadied = video.predict(changed).alpha
    assert not np.array_equal(steadied, alone)
    change, whole = (np.abs(alpha.astype(int) - first) for alpha in (steadied, alone))
    assert change.sum() < whole.sum()
    assert np.array_equal(apart.predict(changed).alpha, alone)


def wide_scene() -> Scene:
    """A scene with enough samples to tell tones of."""
    random = np.random.default_rng(3)
    size = 240, 320
    mean = random.uniform(2, 4, size).astype(np.float32)
    return replace(
        make_scene(),
        camera=Camera(320, 240, 300.0, 300.0, 160.0, 120.0),
        plate=random.integers(30, 225, (*size, 3), np.uint8),
        depth_mean=mean,
        depth_std=0.01 * mean,
        depth_count=np.full(size, 30, np.uint16),
    )


def with_gamma(frame: Frame, gamma: float) -> Frame:
    return replace(frame, color=np.rint(255 * (frame.color / 255) ** gamma).astype(np.uint8))


def test_a_cameras_gamma_hardly_changes_the_matte() -> None:
    scene = wide_scene()
    predictor = Predictor(scene, "torch", threads=1, video=False)
    plain = Frame(scene.plate.copy(), scene.depth_mean.copy(), 5, scene.camera)
    plain.color[60:, 100:200], plain.depth[60:, 100:200] = (160, 70, 50), 1.2
    frame = with_gamma(plain, 1.4)
    expected = predictor.predict(plain).alpha.astype(int)
    toned = np.abs(predictor.predict(frame).alpha - expected).mean()
    predictor._next = replace(predictor._next, tones=None)
    predictor._engine.used = predictor._next
    untoned = np.abs(predictor.predict(frame).alpha - expected).mean()
    assert toned < 0.6 * untoned


def test_the_foreground_comes_in_the_frames_own_tones(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = wide_scene()
    predictor = Predictor(scene, "torch", threads=1)
    plain = Frame(scene.plate, scene.depth_mean, 5, scene.camera)
    for gamma in (0.7, 1.4):
        frame = with_gamma(plain, gamma)
        monkeypatch.setattr(
            predictor._engine.engine,
            "run",
            lambda color, depth, foreground: Matte(np.zeros(depth.shape, np.uint8), color, None),
        )
        inferred = predictor.infer(replace(frame, stamp=int(10 * LONGEST_GAP * gamma)))
        assert np.abs(inferred.color.astype(int) - frame.color).max() > 10
        assert inferred.matte.foreground is not None
        assert np.abs(inferred.matte.foreground.astype(int) - frame.color).max() <= 2


def test_a_network_that_takes_no_light_out_sees_the_frame_as_it_is() -> None:
    scene = wide_scene()
    torch.manual_seed(0)
    network = MattingNetwork(NetworkConfig(depth_in_light=False)).eval()
    predictor = Predictor(scene, "torch", threads=1, weights=deployed(network))
    frame = with_gamma(Frame(scene.plate, scene.depth_mean, 5, scene.camera), 1.4)
    assert predictor.infer(frame).color is frame.color


def evening(scene: Scene) -> CapturedBackground:
    """The scene in dim light, with its depth drifted, a side gone blind and a chair put down."""
    mean, known = scene.depth_mean * np.float32(1.01), scene.depth_count > 0
    known[:, :6] = False
    mean[30:50, 70:85] = 2.0
    plate = (scene.plate * 0.6).astype(np.uint8)
    return CapturedBackground(plate, mean, (0.012 * mean).astype(np.float32), known)


def same(found: Matte, expected: Matte) -> bool:
    names = ("alpha", "foreground", "trimap")
    return all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in names)


@pytest.mark.parametrize("video", [False, True])
def test_a_background_that_is_set_is_as_good_as_one_from_the_start(
    generic: None, video: bool
) -> None:
    scene = make_scene()
    later = evening(scene)
    captured = replace(
        scene,
        plate=later.plate,
        depth_mean=later.mean,
        depth_std=later.std,
        depth_count=later.known.astype(np.uint16),
    )
    swapped, built = (Predictor(s, "torch", threads=1, video=video) for s in (scene, captured))
    frame = make_frame(scene)
    morning = swapped.predict(frame)
    swapped.set_background(later)
    assert swapped.background is later
    # After a gap nothing of the frame before is remembered.
    after = replace(frame, stamp=frame.stamp + LONGEST_GAP + 1)
    expected = built.predict(after)
    assert same(swapped.predict(after), expected) and not same(morning, expected)
    swapped.set_background(background_of(scene))
    again = replace(frame, stamp=after.stamp + LONGEST_GAP + 1)
    assert same(swapped.predict(again), morning)


def test_what_is_put_into_the_background_leaves_the_matte_at_once(generic: None) -> None:
    """What is remembered of the frames before holds nothing up."""
    scene = make_scene()
    frame = make_frame(scene)
    predictor = Predictor(scene, "torch", threads=1)
    predictor.predict(frame)
    known = np.ones((HEIGHT, WIDTH), bool)
    mean = np.where(frame.depth > 0, frame.depth, 3.0).astype(np.float32)
    whole = CapturedBackground(frame.color, mean, (0.01 * mean).astype(np.float32), known)
    predictor.set_background(whole)
    alpha = predictor.predict(replace(frame, stamp=frame.stamp + 33_000_000)).alpha
    assert (alpha[15:, 35:55] > 25).mean() < 0.02


def test_each_frame_is_matted_before_one_background_as_a_whole(generic: None) -> None:
    scene = make_scene()
    frame = make_frame(scene)
    backgrounds = [background_of(scene), evening(scene)]
    predictor = Predictor(scene, "torch", threads=1, video=False)
    expected = []
    for background in backgrounds:
        predictor.set_background(background)
        expected.append(predictor.predict(frame))
    stop = threading.Event()

    def swap_on() -> None:
        for background in itertools.cycle(backgrounds):
            predictor.set_background(background)
            if stop.is_set():
                return

    thread = threading.Thread(target=swap_on)
    thread.start()
    try:
        seen: set[int] = set()
        end = time.monotonic() + 60
        turns = 0
        # A busy machine may let one thread run for many frames.
        while turns < 40 or (len(seen) < 2 and time.monotonic() < end):
            found = predictor.predict(frame)
            seen.add(next(i for i in range(2) if same(found, expected[i])))
            turns += 1
    finally:
        stop.set()
        thread.join()
    assert seen == {0, 1}


def test_a_frame_is_finished_while_the_engine_is_at_later_ones(generic: None) -> None:
    scene = make_scene()
    frame, later = make_frame(scene), evening(scene)
    video = [
        replace(frame, color=np.roll(frame.color, 4 * turn, 1), stamp=33_000_000 * turn)
        for turn in range(4)
    ]
    in_turn, ahead = (Predictor(scene, "torch", threads=1) for _ in range(2))

    def played(predictor: Predictor, make: Callable[[Frame], Made]) -> list[Made]:
        made = [make(frame) for frame in video[:2]]
        predictor.set_background(later)
        return made + [make(frame) for frame in video[2:]]

    expected = played(in_turn, in_turn.predict)
    found = [ahead.finish(inferred) for inferred in played(ahead, ahead.infer)]
    assert all(same(*pair) for pair in zip(found, expected, strict=True))


def test_a_background_of_another_size_is_refused(predictor: Predictor) -> None:
    with pytest.raises(SceneError, match=r"background of 96x61 can't take the place of.*97x61"):
        predictor.set_background(CapturedBackground.blank(HEIGHT, WIDTH - 1))


def test_messages_memory_will_do(predictor: Predictor) -> None:
    frame = make_frame(predictor.scene)
    color = np.frombuffer(frame.color.tobytes(), np.uint8).reshape(frame.color.shape)
    depth = np.frombuffer(frame.depth.tobytes(), np.float32).reshape(frame.depth.shape)
    expected = predictor.predict(frame)
    for some_color in (color, np.ascontiguousarray(color[..., ::-1])[..., ::-1]):
        found = predictor.predict(Frame(some_color, depth, 0, CAMERA))
        assert np.array_equal(found.alpha, expected.alpha)
        assert np.array_equal(found.foreground, expected.foreground)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(EngineError, match="no backend 'tpu'"):
        Predictor(make_scene(), "tpu")
    for share in (0.0, 1.5):
        with pytest.raises(EngineError, match="share of refined tiles"):
            Predictor(make_scene(), "torch", refine_fraction=share)
    assert issubclass(EngineError, DartError)


def test_a_matter_that_need_not_wait_says_that_it_could_be_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not Predictor(make_scene(), "torch", threads=1, ready_only=True).improvable
    monkeypatch.setattr(session_predictor, "must_build", lambda *_: True)
    monkeypatch.setattr(engine_module, "must_build", lambda *_: True)
    monkeypatch.setattr(engine_module, "automatic", lambda: ("tensorrt", "torch"))
    predictor = Predictor(make_scene(), "tensorrt", threads=1, ready_only=True)
    assert predictor.improvable and predictor.backend.startswith("torch (")
    assert "not built yet" in predictor.notes[0]
    assert not Predictor(make_scene(), "torch", threads=1).improvable


def other_scene() -> Scene:
    scene = make_scene()
    later = evening(scene)
    return replace(
        scene,
        name="den",
        id="den-20240101T000000Z-000001",
        plate=later.plate,
        depth_mean=later.mean,
        depth_std=later.std,
        depth_count=later.known.astype(np.uint16),
    )


def test_scenes_of_a_size_share_an_engine(generic: None) -> None:
    first, second = make_scene(), other_scene()
    lab = Predictor(first, "torch", threads=1, video=False)
    frame = make_frame(first)
    before = lab.predict(frame)
    den = lab.for_scene(second)
    assert den is not None and den.scene is second and den.backend == lab.backend
    alone = Predictor(second, "torch", threads=1, video=False).predict(frame)
    for _ in range(2):  # by turns
        assert same(den.predict(frame), alone)
        assert same(lab.predict(frame), before)
    lab.set_background(evening(first))
    assert same(den.predict(frame), alone)
    assert same(lab.predict(frame), alone)


def test_a_scene_of_another_size_or_with_weights_needs_an_engine_of_its_own(
    generic: None,
) -> None:
    scene = make_scene()
    predictor = Predictor(scene, "torch", threads=1)
    assert predictor.for_scene(make_scene(weights_of(seeded(2)))) is None
    smaller = replace(
        scene,
        camera=replace(CAMERA, width=WIDTH - 1),
        plate=scene.plate[:, 1:].copy(),
        depth_mean=scene.depth_mean[:, 1:].copy(),
        depth_std=scene.depth_std[:, 1:].copy(),
        depth_count=scene.depth_count[:, 1:].copy(),
    )
    assert predictor.for_scene(smaller) is None


def test_a_mask_comes_last(generic: None) -> None:
    mask = np.full((HEIGHT, WIDTH), 128, np.uint8)
    mask[20:30, 40:50], mask[:5, :5] = 0, 255
    scene = make_scene()
    frame = make_frame(scene)
    free = Predictor(scene, "torch", threads=1, video=False).predict(frame)
    predictor = Predictor(replace(scene, mask=mask), "torch", threads=1, video=False)
    masked = predictor.predict(frame)
    assert not masked.alpha[20:30, 40:50].any() and (masked.alpha[:5, :5] == 255).all()
    assert np.array_equal(masked.alpha[mask == 128], free.alpha[mask == 128])
    assert not masked.foreground[20:30, 40:50].any()
    assert np.array_equal(masked.foreground[:5, :5], frame.color[:5, :5])
    assert masked.trimap[2, 2] == 255
    predictor.set_mask(None)
    assert same(predictor.predict(frame), free)
