"""What a training or a fit is told: a YAML file each, checked before anything starts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from dart_ros.errors import FitError
from dart_ros.method.config import NetworkConfig
from dart_ros.method.geometry import STRIDE, base_reduction, padded_sides, padding_stride
from dart_ros.simulation.composition import Chances
from dart_ros.simulation.frames import MAX_DEPTH
from dart_ros.simulation.recorded import RecordedChances

Stage = Literal["teacher", "student", "refiner"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class Data:
    """What frames are composed of.

    ``foregrounds``: folders of rendered foregrounds or of the user's own pictures; none for the
    library that ships. ``rooms``: folders of rendered rooms. ``pictures``: folders of pictures
    without depth. ``invented``: how many rooms are made up. ``recordings``: real recordings, all of
    which are trained on: people are composed before their empty frames, and ``recorded_share`` of
    all frames are their occupied ones, labelled by depth where it is sure. One identity and one
    room in ``held_out`` is kept for validation.
    """

    foregrounds: tuple[Path, ...] = ()
    rooms: tuple[Path, ...] = ()
    pictures: tuple[Path, ...] = ()
    invented: int = 60
    recordings: tuple[Path, ...] = ()
    recorded_share: float = 0.2
    held_out: int = 5
    max_depth: float = MAX_DEPTH


@dataclass(frozen=True)
class Rates:
    """Highest learning rates of the network's parts; the first three are the paper's."""

    encoder: float = 1e-4
    aspp: float = 5e-4
    decoder: float = 5e-4
    refiner: float = 5e-4


@dataclass(frozen=True)
class Start:
    """What the weights are before the first step: ImageNet's in the encoder, or a whole network's.

    With neither they are random.
    """

    imagenet: Path | None = None
    weights: Path | None = None


@dataclass(frozen=True)
class Teacher:
    """The network that a student learns from besides the truth."""

    weights: Path
    temperature: float = 0.25


@dataclass(frozen=True)
class Validation:
    """Held-out frames: how many, and the steps from one validation to the next."""

    frames: int = 32
    every: int = 500
    seed: int = 1


@dataclass(frozen=True)
class Pool:
    """Composed frames that are kept in a folder and used again and again.

    ``renewing``: so many processes replace them by new ones all the while, and steps wait for the
    first of them alone, as a GPU wants it; which frames a step sees is then a matter of time. 0
    where another run with the same data, sizes and seed has these processes, None to compose each
    frame once.
    """

    folder: Path
    frames: int = 6000
    renewing: int | None = None


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        stage: ``teacher`` (ResNet-50), ``student`` (MobileNetV2) or ``refiner``.
        output: folder of the checkpoint, the weights and the logs.
        data: what frames are composed of.
        start: the weights before the first step.
        teacher: whom a student learns from; None for the truth alone.
        network: the encoder and where depth enters; ``start.weights`` must agree with it.
        seed: decides random weights and all frames.
        sizes: (height, width) of the frames, near the cameras'; steps take them in turn. In much
            smaller ones whatever the network sees is near an edge, and it makes holes in larger
            ones. Multiples of 16, those of large frames of 48, see
            :func:`dart_ros.method.geometry.padded_sides`.
        pairs: whether each frame comes with the one before it, as a network with a memory wants it.
        batch: frames of a step, over all processes together.
        steps: length of the training; a run of fixed steps can be repeated bit for bit, unless its
            pool is renewed.
        minutes: length of the training instead of ``steps``.
        rates: learning rates.
        freeze_base: whether the stage ``refiner`` leaves the base network as it is.
        keep_norms: whether batch norm keeps the statistics of ``start.weights``, as small batches
            and frames of several sizes want it.
        mean_decay: of the running mean of the weights, which is what is saved.
        workers: processes that compose frames; 0 composes on the training device.
        pool: where frames are kept to be used again; None composes all anew.
        composition: how often what happens in composed frames.
        recorded: how often real frames are changed.
        validation: held-out frames.
        checkpoint_every: steps from one checkpoint to the next.
    """

    stage: Stage
    output: Path
    data: Data = field(default_factory=Data)
    start: Start = field(default_factory=Start)
    teacher: Teacher | None = None
    network: NetworkConfig = field(default_factory=NetworkConfig)
    seed: int = 0
    sizes: tuple[tuple[int, int], ...] = ((480, 640), (720, 1248))
    pairs: bool = False
    batch: int = 16
    steps: int | None = None
    minutes: float | None = None
    rates: Rates = field(default_factory=Rates)
    freeze_base: bool = True
    keep_norms: bool = False
    mean_decay: float = 0.998
    workers: int = 1
    pool: Pool | None = None
    composition: Chances = field(default_factory=Chances)
    recorded: RecordedChances = field(default_factory=RecordedChances)
    validation: Validation = field(default_factory=Validation)
    checkpoint_every: int = 200


@dataclass(frozen=True)
class FitRun:
    """One fit at a scene.

    Attributes:
        seconds: how long to train at most, loading and validation come on top; None for what the
            fit had that goes on, else 120, and 30 on a GPU.
        library: folder of foregrounds to train and to validate with; None for those that ship.
        foregrounds: folder of further ones, the user's own, all to train on.
        recording: taken in the scene by its camera: its people are learned from where depth alone
            labels them, and its empty frames have the sensor's noise. None for composites alone.
        recorded_share: of the frames that are the recording's.
        teacher: whom the student learns from besides the truth.
        seed: the same seed gives the same composites.
        batch: frames of a step, over all processes together.
        rates: highest learning rates.
        frames: how many held-out composites a validation has.
    """

    seconds: float | None = None
    library: Path | None = None
    foregrounds: Path | None = None
    recording: Path | None = None
    recorded_share: float = 0.3
    teacher: Teacher | None = None
    seed: int = 0
    batch: int = 2
    rates: Rates = field(default_factory=Rates)
    frames: int = 32


def load_run(path: Path) -> Run:
    """Reads a run's YAML file.

    Raises:
        FitError: if it can't be read, has a key that no run has, or a value that can't be; the
            message names the file and the key.
    """
    content = yaml_content(path)
    try:
        return run_of(content)
    except ValueError as error:
        raise FitError(f"{path}: {error}") from error


def run_of(content: Any) -> Run:
    """A run of the content of its YAML file, or of what a recipe makes of its own.

    Raises:
        ValueError: naming the key.
    """
    run = _build(Run, content, "")
    if "network" not in content or "encoder" not in content["network"]:
        encoder: Literal["resnet50", "mobilenetv2"] = (
            "resnet50" if run.stage == "teacher" else "mobilenetv2"
        )
        network = dataclasses.replace(run.network, encoder=encoder)
        run = dataclasses.replace(run, network=network)
    _check(run)
    return run


def load_fit(path: Path) -> FitRun:
    """Reads a fit's YAML file, whose keys may all be absent.

    Raises:
        FitError: as :func:`load_run`.
    """
    content = yaml_content(path)
    try:
        run = _build(FitRun, {} if content is None else content, "")
        check_fit(run)
    except ValueError as error:
        raise FitError(f"{path}: {error}") from error
    return run


def yaml_content(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        FitError: if it can't be read.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FitError(f"{path} can't be read as the YAML file of a run: {error}") from error


def check_fit(run: FitRun) -> None:
    """Raises ValueError, naming the key, if a value can't be."""
    if not 0 <= run.recorded_share < 1:
        raise ValueError(f"recorded_share is {run.recorded_share}: give a number from 0 to below 1")
    _check_numbers(
        {"seconds": run.seconds, "batch": run.batch, "frames": run.frames, **_rates(run.rates)},
        {"seed": run.seed},
        run.teacher,
    )


def described(run: Run | FitRun) -> dict[str, Any]:
    """The whole of a run's settings, defaults included, as plain values.

    Files and folders are there by their names alone, so the same run reads the same on any
    machine.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return value.name
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, (tuple, list)) else value

    settings: dict[str, Any] = plain(dataclasses.asdict(run))
    return settings


def _check(run: Run) -> None:
    positive = {
        "batch": run.batch,
        "steps": run.steps,
        "minutes": run.minutes,
        "checkpoint_every": run.checkpoint_every,
        "validation.frames": run.validation.frames,
        "validation.every": run.validation.every,
        "data.max_depth": run.data.max_depth,
        "pool.frames": run.pool.frames if run.pool else None,
        **_rates(run.rates),
    }
    natural = {
        "seed": run.seed,
        "workers": run.workers,
        "data.invented": run.data.invented,
        "pool.renewing": run.pool.renewing if run.pool else None,
    }
    _check_numbers(positive, natural, run.teacher)
    if (run.steps is None) == (run.minutes is None):
        raise ValueError("give the length of the training as steps or as minutes")
    if not run.sizes:
        raise ValueError("sizes is empty: give at least one")
    for size in run.sizes:
        whole = padded_sides(*size, base_reduction(*size))
        if min(size) <= 0 or whole != size:
            raise ValueError(
                f"sizes holds {list(size)}: sides must be multiples of {STRIDE}, those of large "
                f"frames of {padding_stride(6)}; the next is {list(whole)}"
            )
    if run.data.held_out < 2:
        raise ValueError(f"data.held_out is {run.data.held_out}: give 2 or more")
    if not 0 <= run.mean_decay < 1:
        raise ValueError(f"mean_decay is {run.mean_decay}: give a number from 0 to below 1")
    if not 0 <= run.data.recorded_share < 1:
        raise ValueError(
            f"data.recorded_share is {run.data.recorded_share}: give a number from 0 to below 1"
        )
    _check_chances(run.composition, "composition")
    _check_chances(run.recorded, "recorded")
    if not (run.data.rooms or run.data.pictures or run.data.invented):
        raise ValueError("data names no rooms: give rooms, pictures, or a number of invented ones")
    if run.start.imagenet and run.start.weights:
        raise ValueError("start has imagenet and weights: give one of them")
    if run.stage == "refiner" and run.start.weights is None:
        raise ValueError("the stage refiner needs start.weights: those of a trained student")
    if run.keep_norms and run.start.weights is None:
        raise ValueError("keep_norms needs start.weights: random weights have no statistics")
    if run.pool and run.pool.renewing is not None and not run.workers:
        raise ValueError("pool.renewing needs workers, which read the frames: give 1 or more")
    if run.teacher is not None and run.stage != "student":
        raise ValueError("only the stage student has a teacher")


def _check_chances(chances: Any, name: str) -> None:
    for entry in dataclasses.fields(chances):
        value, where = getattr(chances, entry.name), f"{name}.{entry.name}"
        if dataclasses.is_dataclass(value):
            _check_chances(value, where)
        elif entry.name == "zoom" and not 1 <= value < math.inf:
            raise ValueError(f"{where} is {value}: give a number from 1")
        elif entry.name != "zoom" and not 0 <= value <= 1:
            raise ValueError(f"{where} is {value}: give a number from 0 to 1")


def _rates(rates: Rates) -> dict[str, float]:
    return {f"rates.{name}": rate for name, rate in vars(rates).items()}


def _check_numbers(
    positive: Mapping[str, float | None],
    natural: Mapping[str, int | None],
    teacher: Teacher | None,
) -> None:
    temperature = None if teacher is None else teacher.temperature
    for name, value in {**positive, "teacher.temperature": temperature}.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}: give a number above 0")
    for name, count in natural.items():
        if count is not None and count < 0:
            raise ValueError(f"{name} is {count}: give 0 or more")


T = TypeVar("T")


def _build(kind: type[T], content: Any, where: str) -> T:
    """A dataclass of a mapping, nested ones likewise.

    Raises:
        ValueError: naming the key that is unknown, missing or of the wrong type.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{where or 'the file'} must hold keys and values")
    prefix = f"{where}." if where else ""
    hints = get_type_hints(kind)
    known = {entry.name: entry for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in content:
        if name not in known:
            raise ValueError(f"there is no key {prefix}{name}; there are {', '.join(known)}")
    for name, entry in known.items():
        missing = entry.default is entry.default_factory is dataclasses.MISSING
        if missing and name not in content:
            raise ValueError(f"the key {prefix}{name} is missing")
    return kind(**{n: _value(hints[n], value, prefix + n) for n, value in content.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    """A YAML value as the type that a field has."""
    options = get_args(hint)
    if get_origin(hint) is Literal:
        if value not in options:
            raise ValueError(f"{where} is {value!r}: choose from {', '.join(options)}")
        return value
    if type(None) in options:
        return None if value is None else _value(options[0], value, where)
    if get_origin(hint) is tuple:
        endless = options[-1] is Ellipsis
        if not isinstance(value, list) or not (endless or len(value) == len(options)):
            raise ValueError(f"{where} is {value!r}: give a list")
        return tuple(_value(options[0], item, where) for item in value)
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return _build(hint, value, where)
    if hint is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is not Path and type(value) is hint:
        return value
    raise ValueError(f"{where} is {value!r}: give a {'path' if hint is Path else hint.__name__}")
