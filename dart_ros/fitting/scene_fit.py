"""Fits the network to one captured scene: artificial foregrounds before the real background."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dart_ros.errors import FitError
from dart_ros.fitting.checkpoint import (
    load_checkpoint,
    restore_training,
    save_checkpoint,
    training_state,
)
from dart_ros.fitting.distillation import training_loss
from dart_ros.fitting.library import file_hash, folder_hash, foregrounds_path, split_identities
from dart_ros.fitting.logs import Log, open_log
from dart_ros.fitting.optimization import Stepper, keep_norms, memory_told, parameter_groups
from dart_ros.fitting.processes import Processes, processes
from dart_ros.fitting.run import FitRun, check_fit, described
from dart_ros.fitting.stream import CompositionStream
from dart_ros.fitting.validation import ValidationSet
from dart_ros.fitting.weights import Weights, network_with, weights_of
from dart_ros.method.geometry import base_reduction, padding_stride
from dart_ros.method.network import MattingNetwork
from dart_ros.simulation.foregrounds import load_foregrounds
from dart_ros.simulation.frames import RgbdBackground
from dart_ros.simulation.recorded import UNCHANGED, RecordedFrames, RecordedScene

_log = logging.getLogger(__name__)

CROP = (480, 640)
"""Largest (height, width) of the frames that the fit trains on."""

WARM_UP = 10
"""Steps in which the rates rise."""

REFINER_SHARE = 0.2
"""Of the time at the end in which the refiner alone is trained, behind a base that stands still."""

MARGIN = 0.97
"""Of the error before: less of a gain than that is chance, and the generic weights stay."""

MEAN_DECAY = 0.95
"""Of the running mean of the weights, for each step."""

HELD_OUT = 5
"""Every so many identities are kept for validation."""

CPU_SECONDS = 120.0
GPU_SECONDS = 30.0
"""How long to train where no time is given, so that a fit takes three minutes at most on two cores
and one on a GPU, with all that comes on top."""

ROUNDS = 8
"""Validations within the given time."""

PATIENCE = 5
"""Validations without a new best after which the fit ends by itself."""


@dataclass(frozen=True)
class FitResult:
    """What a fit found.

    ``weights`` are the better of before and after; ``before`` and ``after`` are the mean absolute
    error of alpha in per mille on composites with people that the fit did not train on; ``steps``
    and ``seconds`` count what was done before an interruption too. ``made_of`` holds the settings
    as JSON (``run``) and the SHA-256 of the foregrounds, the weights before, and the user's own
    foregrounds, the recording and the teacher where there are any.
    """

    weights: dict[str, NDArray[np.float16]]
    improved: bool
    before: float
    after: float
    steps: int
    seconds: float
    made_of: dict[str, str]


def fit_scene(
    background: RgbdBackground,
    max_depth: float,
    run: FitRun,
    on_progress: Callable[[float, str], None],
    stop: Callable[[], bool],
    checkpoint: Path | None = None,
    logs: Path | None = None,
    recorded: RecordedScene | None = None,
) -> FitResult:
    """Fine-tunes the generic weights on composites over one background.

    The whole network learns first, then the refiner alone. The better of before and after, judged
    on people held out from the fit, is returned, so a fit never makes a scene worse on them; a
    gain that may be chance doesn't count. A fit that finds nothing better any more ends early.
    Processes that ``torchrun`` started share out each batch, and return the same.

    Args:
        background: the captured scene with its depth's deviation.
        max_depth: the sensor's range in metres.
        run: what to fit with, and for how long.
        on_progress: called in the first process with the share done in [0, 1] and what goes on in
            words.
        stop: asked between steps, in the first process; True ends the fit early with what is best
            so far.
        checkpoint: a file written after each validation. A fit that was killed goes on from there
            if it is called again with the same background, range, run (but for its seconds) and
            version of the package; one of another fit is written over. A fit that ends leaves it
            there.
        logs: folder of TensorBoard's logs.
        recorded: the same scene with frames that were taken in it afterwards. Four of five are
            trained on, the last ones are judged by as well.

    Raises:
        FitError: if weights or foregrounds can't be read, a number in the run can't be, logs can't
            be written, or a GPU's memory is too small for a single frame.
    """
    try:
        check_fit(run)
    except ValueError as error:
        raise FitError(f"a fit can't be like this: {error}") from error
    with memory_told(), processes() as together:
        together.check_batch(run.batch)
        fit = _Fit(background, max_depth, run, recorded, together, checkpoint)
        return fit.fit(on_progress, stop, logs)


class _Fit:
    """A fit in progress, in one of its processes."""

    def __init__(
        self,
        background: RgbdBackground,
        max_depth: float,
        run: FitRun,
        recorded: RecordedScene | None,
        together: Processes,
        checkpoint: Path | None,
    ) -> None:
        self._together, self._checkpoint = together, checkpoint
        device = together.device
        self._on_gpu = device.type == "cuda"
        # Half the cores are left to the node: torch's threads wait for each other, so threads that
        # compete for a core are many times slower than fewer that don't.
        torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2 // together.world))
        library = run.library or foregrounds_path()
        training, held_out = split_identities(load_foregrounds(library), HELD_OUT)
        if run.foregrounds is not None:
            # After the split: whoever gives pictures of a person wants them to be trained on.
            training += load_foregrounds(run.foregrounds)
        height, width = background.depth.shape
        reduction = base_reduction(height, width)
        size = _crop(height, width, reduction)
        learned, judged = [], None
        if recorded is not None:
            # People compose before the recording's own noise.
            background = replace(background, samples=recorded.background.samples)
            count = len(recorded.color)
            last = count - max(1, count // HELD_OUT)
            if last < 1:
                raise FitError("a fit needs a recording with two occupied frames at least")
            learned = [recorded.part(slice(last))]
            judged = RecordedFrames([recorded.part(slice(last, None))], size, chances=UNCHANGED)
        self._validation = ValidationSet(
            *(held_out, [background], [size], run.frames, max_depth, run.seed + 1),
            batch=2,
            reduction=reduction,
            recorded=judged,
        )
        self._stream = CompositionStream(
            *(training, [background], [size], run.batch, run.seed, max_depth),
            device=device if self._on_gpu else None,
            rank=together.rank,
            world=together.world,
            recorded=learned,
            recorded_share=run.recorded_share,
        )
        network = network_with(None)
        self._best_weights = weights_of(network)
        self._made_of = _hashes(library, self._best_weights, run, recorded)
        self._identity = _identity(background, max_depth, self._made_of)
        # torch's type hints lack this form of to().
        self._network: MattingNetwork = network.to(  # type: ignore[call-overload]
            device, memory_format=torch.channels_last
        )
        self._stepper = Stepper(
            together.shared(self._network),
            torch.optim.AdamW(parameter_groups(self._network, run.rates), weight_decay=1e-4),
            training_loss(run.teacher, device),
            reduction,
            alone=together.world == 1,
        )
        # Few steps on few pictures are noisy; their running mean is not.
        self._mean = AveragedModel(
            self._network, multi_avg_fn=get_ema_multi_avg_fn(MEAN_DECAY), use_buffers=True
        )
        self._seconds = run.seconds
        self._spent, self._step, self._idle = 0.0, 0, 0
        self._before = self._best = math.inf

    def fit(
        self,
        on_progress: Callable[[float, str], None],
        stop: Callable[[], bool],
        logs: Path | None,
    ) -> FitResult:
        """Fits to the end; see :func:`fit_scene`."""
        first = self._together.first
        if self._resume():
            words = f"goes on after step {self._step}"
        else:
            self._before = self._best = self._score(self._network)
            words = f"alpha error {self._before:.2f} per mille before"
        seconds = self._seconds or (GPU_SECONDS if self._on_gpu else CPU_SECONDS)
        if first:
            on_progress(min(1.0, self._spent / seconds), f"fitting: {words}")
        log = open_log(logs, self._step) if first and logs is not None else None
        batches = self._stream.batches(self._step, workers=0 if self._on_gpu else 1)
        self._network.train()
        keep_norms(self._network)
        while (
            self._spent < seconds
            and self._idle < PATIENCE
            and not self._together.agreed(first and stop())
        ):
            begun, share = monotonic(), self._spent / seconds
            self._choose_parts(share)
            self._stepper.set_rates(self._step, share, WARM_UP)
            loss = self._stepper.step(next(batches).to(self._together.device))
            self._mean.update_parameters(self._network)
            self._step += 1
            self._spent = self._together.agreed(self._spent + monotonic() - begun)
            if log is not None:
                log.add("loss/training", loss, self._step)
            if int(ROUNDS * self._spent / seconds) > int(ROUNDS * share):
                self._validate(log)
                self._keep(seconds)
            if first:
                on_progress(
                    min(1.0, self._spent / seconds),
                    f"fitting: step {self._step}, alpha error {self._before:.2f} -> "
                    f"{self._best:.2f} per mille",
                )
        if log is not None:
            log.close()
        return FitResult(
            self._best_weights,
            self._best < self._before,
            self._before,
            self._best,
            self._step,
            self._spent,
            self._made_of,
        )

    def _choose_parts(self, share: float) -> None:
        """At the end the refiner learns alone."""
        whole = share < 1 - REFINER_SHARE
        base = self._network.base
        if whole != next(base.parameters()).requires_grad:
            base.requires_grad_(whole)
            self._stepper.network = self._together.shared(self._network)

    def _score(self, network: MattingNetwork) -> float:
        return self._together.agreed(self._validation.score(network).error)

    def _validate(self, log: Log | None) -> None:
        averaged = self._mean.module
        assert isinstance(averaged, MattingNetwork)
        error = self._score(averaged)
        self._idle += 1
        if error < min(self._best, MARGIN * self._before):
            self._best, self._best_weights, self._idle = error, weights_of(averaged), 0
        if log is not None:
            log.add("validation/error", error, self._step)
            log.flush()

    def _resume(self) -> bool:
        """Goes back to the checkpoint of the same fit; False for a new one."""
        state = None
        if self._together.first and self._checkpoint is not None:
            state = _unfinished(self._checkpoint, self._identity)
        state = self._together.handed_out(state)
        if state is None:
            return False
        try:
            restore_training(state, self._network, self._mean, self._stepper)
            self._before, self._best = float(state["before"]), float(state["best"])
            self._best_weights = {name: value.numpy() for name, value in state["weights"].items()}
            self._spent, self._step = float(state["spent"]), int(state["step"])
            self._idle = int(state["idle"])
            self._seconds = self._seconds or float(state["seconds"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise FitError(
                f"{self._checkpoint} doesn't hold what this fit needs ({error!r:.200}): delete it "
                "and fit again"
            ) from error
        return True

    def _keep(self, seconds: float) -> None:
        """Writes the checkpoint; a fit goes on without one."""
        if not self._together.first or self._checkpoint is None:
            return
        state = {
            "identity": self._identity,
            "before": self._before,
            "best": self._best,
            "weights": {n: torch.from_numpy(value) for n, value in self._best_weights.items()},
            "spent": self._spent,
            "step": self._step,
            "idle": self._idle,
            "seconds": seconds,
            **training_state(self._network, self._mean, self._stepper),
        }
        try:
            save_checkpoint(self._checkpoint, state)
        except FitError as error:
            _log.warning("a fit that is interrupted will begin anew: %s", error)


def _hashes(
    library: Path, generic: Weights, run: FitRun, recorded: RecordedScene | None
) -> dict[str, str]:
    """See :class:`FitResult`."""
    digest = hashlib.sha256()
    for value in generic.values():
        digest.update(value.tobytes())
    hashes = {
        "run": json.dumps(described(replace(run, seconds=None))),
        "foregrounds": folder_hash(library),
        "generic_weights": digest.hexdigest(),
    }
    if run.foregrounds is not None:
        hashes["own_foregrounds"] = folder_hash(run.foregrounds)
    if recorded is not None:
        hashes["recording"] = recorded.digest()
    if run.teacher is not None:
        hashes["teacher"] = file_hash(run.teacher.weights)
    return hashes


def _identity(background: RgbdBackground, max_depth: float, made_of: dict[str, str]) -> str:
    """What must be the same for a fit to go on; the code as well, by which scores compare."""
    settings = background.focal, max_depth, sorted(made_of.items()), torch.__version__
    digest = hashlib.sha256(repr(settings).encode())
    images = background.color, background.depth, background.std, *(background.samples or ())
    for image in images:
        digest.update(b"-" if image is None else image.numpy().tobytes())
    for package in ("fitting", "method", "simulation"):
        for file in sorted((files("dart_ros") / package).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _unfinished(checkpoint: Path, identity: str) -> dict[str, Any] | None:
    """The state of the same fit that was interrupted; None for a new one."""
    try:
        state = load_checkpoint(checkpoint)
    except FitError as error:
        _log.warning("the fit begins anew: %s", error)
        return None
    if state is not None and state.get("identity") != identity:
        _log.warning(
            "the fit begins anew: %s is of another scene, other foregrounds or settings, another "
            "teacher, or another version of the package",
            checkpoint,
        )
        return None
    return state


def _crop(height: int, width: int, reduction: int) -> tuple[int, int]:
    """Size of the crops: none that would be padded, since the loss of coarse maps can't have it."""
    stride = padding_stride(reduction)
    rows, columns = (min(most, side) for most, side in zip(CROP, (height, width), strict=True))
    return max(stride, rows // stride * stride), max(stride, columns // stride * stride)
