"""Fits the network to one captured scene: artificial foregrounds before the real background."""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
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
from dart_ros.fitting.composition import RgbdBackground
from dart_ros.fitting.distillation import training_loss
from dart_ros.fitting.library import file_hash, folder_hash, split_identities, sprites_path
from dart_ros.fitting.logs import open_log
from dart_ros.fitting.optimization import Stepper, keep_norms, memory_told
from dart_ros.fitting.run import Teacher
from dart_ros.fitting.sprites import load_sprites
from dart_ros.fitting.stream import CompositionStream
from dart_ros.fitting.validation import ValidationSet
from dart_ros.fitting.weights import Weights, network_with, weights_of
from dart_ros.method.network import MattingNetwork, base_reduction, padding_stride

_log = logging.getLogger(__name__)

CROP = (480, 640)
"""Largest (height, width) of the frames that the fit trains on."""

BATCH = 2

ENCODER_RATE = 1e-4
RATE = 5e-4
"""Highest learning rates, the paper's: of the encoder, and of all else."""

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

VALIDATION_FRAMES = 32
ROUNDS = 8
"""Validations within the given time."""

PATIENCE = 5
"""Validations without a new best after which the fit ends by itself."""


@dataclass(frozen=True)
class FitResult:
    """What a fit found.

    ``weights`` are the better of before and after; ``before`` and ``after`` are the mean absolute
    error of alpha in per mille on composites with people that the fit did not train on; ``steps``
    and ``seconds`` count what was done before an interruption too. ``made_of`` holds the SHA-256 of
    the sprites, the weights before, and the user's own sprites and the teacher where there are any.
    """

    weights: dict[str, NDArray[np.float16]]
    improved: bool
    before: float
    after: float
    steps: int
    seconds: float
    made_of: dict[str, str]


@memory_told()
def fit_scene(
    background: RgbdBackground,
    max_depth: float,
    seconds: float | None,
    on_progress: Callable[[float, str], None],
    stop: Callable[[], bool],
    sprites: Path | None = None,
    own_sprites: Path | None = None,
    teacher: Path | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    logs: Path | None = None,
) -> FitResult:
    """Fine-tunes the generic weights on composites over one background.

    The whole network learns first, then the refiner alone. The better of before and after, judged
    on people held out from the fit, is returned, so a fit never makes a scene worse on them; a
    gain that may be chance doesn't count. A fit that finds nothing better any more ends early.

    Args:
        background: the captured scene with its depth's deviation.
        max_depth: the sensor's range in metres.
        seconds: how long to train at most, loading and validation come on top; None for what the
            fit had that goes on, else :data:`CPU_SECONDS` or :data:`GPU_SECONDS`.
        on_progress: called with the share done in [0, 1] and what goes on in words.
        stop: asked between steps; True ends the fit early with what is best so far.
        sprites: a library instead of the one that ships.
        own_sprites: a folder of further sprites, the user's own, all to train on.
        teacher: weights of a network to learn from besides the truth.
        seed: the same seed gives the same composites.
        checkpoint: a file written after each validation. A fit that was killed goes on from there
            if it is called again with the same background, range, sprites, teacher, seed and
            version of the package; one of another fit is written over. A fit that ends leaves it
            there.
        logs: folder of TensorBoard's logs.

    Raises:
        FitError: if weights or sprites can't be read, the time is not positive, logs can't be
            written, or a GPU's memory is too small for a single frame.
    """
    if seconds is not None and not seconds > 0:
        raise FitError(f"a fit needs a positive number of seconds, not {seconds}")
    # Half the cores are left to the node: torch's threads wait for each other, so threads that
    # compete for a core are many times slower than fewer that don't.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    sprites = sprites or sprites_path()
    training, held_out = split_identities(load_sprites(sprites), HELD_OUT)
    if own_sprites is not None:
        # After the split: whoever gives pictures of a person wants them to be trained on.
        training += load_sprites(own_sprites)
    height, width = background.depth.shape
    reduction = base_reduction(height, width)
    size = _crop(height, width, reduction)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    validation = ValidationSet(
        held_out, [background], [size], VALIDATION_FRAMES, max_depth, seed + 1, BATCH, reduction
    )
    # torch's type hints lack this form of to().
    network = network_with(None)
    generic = weights_of(network)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    stepper = Stepper(
        network,
        _optimizer(network),
        training_loss(None if teacher is None else Teacher(teacher), device),
        reduction,
    )
    # Few steps on few pictures are noisy; their running mean is not.
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(MEAN_DECAY), use_buffers=True)
    averaged = mean.module
    assert isinstance(averaged, MattingNetwork)
    made_of = _hashes(sprites, own_sprites, generic, teacher)
    identity = _identity(background, max_depth, made_of, seed)
    state = None if checkpoint is None else _unfinished(checkpoint, identity)
    if state is None:
        seconds = seconds or (GPU_SECONDS if device.type == "cuda" else CPU_SECONDS)
        before = validation.score(network).error
        best, best_weights = before, generic
        spent, step, idle = 0.0, 0, 0
        on_progress(0.0, f"fitting: alpha error {before:.2f} per mille before")
    else:
        restore_training(state, network, mean, stepper)
        before, best = state["before"], state["best"]
        best_weights = {name: value.numpy() for name, value in state["weights"].items()}
        spent, step, idle = state["spent"], state["step"], state["idle"]
        seconds = seconds or float(state["seconds"])
        on_progress(min(1.0, spent / seconds), f"fitting: goes on after step {step}")
    log = None if logs is None else open_log(logs, step)
    on_gpu = device.type == "cuda"
    stream = CompositionStream(
        training, [background], [size], BATCH, seed, max_depth, device if on_gpu else None
    )
    batches = stream.batches(step, workers=0 if on_gpu else 1)
    network.train()
    keep_norms(network)
    while spent < seconds and idle < PATIENCE and not stop():
        begun, share = monotonic(), spent / seconds
        network.base.requires_grad_(share < 1 - REFINER_SHARE)
        _set_rates(stepper.optimizer, step, share)
        loss = stepper.step(next(batches).to(device))
        mean.update_parameters(network)
        step += 1
        spent += monotonic() - begun
        if log is not None:
            log.add("loss/training", loss, step)
        if int(ROUNDS * spent / seconds) > int(ROUNDS * share):
            error = validation.score(averaged).error
            idle += 1
            if error < min(best, MARGIN * before):
                best, best_weights, idle = error, weights_of(averaged), 0
            if log is not None:
                log.add("validation/error", error, step)
                log.flush()
            if checkpoint is not None:
                progress = {"identity": identity, "before": before, "best": best, "idle": idle}
                weights = {name: torch.from_numpy(value) for name, value in best_weights.items()}
                progress |= {"spent": spent, "step": step, "weights": weights, "seconds": seconds}
                _keep(checkpoint, progress | training_state(network, mean, stepper))
        on_progress(
            min(1.0, spent / seconds),
            f"fitting: step {step}, alpha error {before:.2f} -> {best:.2f} per mille",
        )
    if log is not None:
        log.close()
    return FitResult(best_weights, best < before, before, best, step, spent, made_of)


def _hashes(
    sprites: Path, own_sprites: Path | None, generic: Weights, teacher: Path | None
) -> dict[str, str]:
    """See :class:`FitResult`."""
    digest = hashlib.sha256()
    for value in generic.values():
        digest.update(value.tobytes())
    hashes = {"sprites": folder_hash(sprites), "generic_weights": digest.hexdigest()}
    if own_sprites is not None:
        hashes["own_sprites"] = folder_hash(own_sprites)
    if teacher is not None:
        hashes["teacher"] = file_hash(teacher)
    return hashes


def _identity(
    background: RgbdBackground, max_depth: float, made_of: dict[str, str], seed: int
) -> str:
    """What must be the same for a fit to go on; the code as well, by which scores compare."""
    settings = background.focal, max_depth, sorted(made_of.items()), seed, torch.__version__
    digest = hashlib.sha256(repr(settings).encode())
    images = background.color, background.depth, background.std, *(background.samples or ())
    for image in images:
        digest.update(b"-" if image is None else image.numpy().tobytes())
    for package in ("fitting", "method"):
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
            "the fit begins anew: %s is of another scene, other sprites, another teacher, or "
            "another version of the package",
            checkpoint,
        )
        return None
    return state


def _keep(checkpoint: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint; a fit goes on without one."""
    try:
        save_checkpoint(checkpoint, state)
    except FitError as error:
        _log.warning("a fit that is interrupted will begin anew: %s", error)


def _crop(height: int, width: int, reduction: int) -> tuple[int, int]:
    """Size of the crops: none that would be padded, since the loss of coarse maps can't have it."""
    stride = padding_stride(reduction)
    rows, columns = (min(most, side) for most, side in zip(CROP, (height, width), strict=True))
    return max(stride, rows // stride * stride), max(stride, columns // stride * stride)


def _set_rates(optimizer: torch.optim.Optimizer, step: int, share: float) -> None:
    """Warm-up, then half a cosine."""
    factor = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * share))
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * factor


def _optimizer(network: MattingNetwork) -> torch.optim.Optimizer:
    """AdamW; each group knows its ``highest`` rate."""
    slow = list(network.base.encoder.parameters())
    known = {id(parameter) for parameter in slow}
    fast = [parameter for parameter in network.parameters() if id(parameter) not in known]
    groups = [
        {"params": slow, "lr": ENCODER_RATE, "highest": ENCODER_RATE},
        {"params": fast, "lr": RATE, "highest": RATE},
    ]
    return torch.optim.AdamW(groups, weight_decay=1e-4)
