"""Trains the networks of a run: teacher, student or refiner.

A training can be killed at any moment: started again, it goes on from its last checkpoint, with
the batches and random numbers that it would have had. ``torchrun`` shares it out over several
processes, GPUs and machines.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from dart_ros.errors import FitError
from dart_ros.fitting import frame_pool
from dart_ros.fitting.checkpoint import (
    load_checkpoint,
    restore_training,
    save_checkpoint,
    training_state,
)
from dart_ros.fitting.distillation import training_loss
from dart_ros.fitting.frame_pool import FramePool, PackedBatch, Renewal
from dart_ros.fitting.library import file_hash, load_library
from dart_ros.fitting.logs import Log, open_log
from dart_ros.fitting.optimization import Stepper, keep_norms, memory_told, parameter_groups
from dart_ros.fitting.pretrained import load_imagenet_encoder
from dart_ros.fitting.processes import Processes, processes
from dart_ros.fitting.run import Run, described
from dart_ros.fitting.stream import CompositionStream
from dart_ros.fitting.validation import ValidationScores, ValidationSet
from dart_ros.fitting.weights import grown, load_network, save_network
from dart_ros.method import blind_sides
from dart_ros.method.network import MattingNetwork
from dart_ros.simulation.frames import Batch
from dart_ros.simulation.recorded import RecordedScene

WARM_UP = 100
"""Steps in which the learning rates rise to their highest."""

LAST_RATE = 0.02
"""Share of the highest learning rates that is left at the end."""

WEIGHTS = "weights.safetensors"
"""Name of the weights in the folder of a run."""

_LOG_EVERY = 10


def train(run: Run, recorded: Sequence[RecordedScene] = ()) -> ValidationScores:
    """Trains what a run describes, or goes on with it.

    ``run.output`` receives ``weights.safetensors`` (the running mean of the weights, with the
    run's settings and the hashes of its data and of the weights that it names in the header),
    ``checkpoint.pt``, ``run.json`` and TensorBoard's logs.

    Args:
        run: what to train.
        recorded: the scenes of ``run.data.recordings``, one each.

    Returns:
        The scores of the weights on the run's held-out frames.

    Raises:
        FitError: if data, weights or the output folder are not usable.
    """
    with memory_told(), processes() as together:
        together.check_batch(run.batch)
        return _Training(run, recorded, together).train()


class _Training:
    """A run in progress, in one of its processes."""

    def __init__(self, run: Run, recorded: Sequence[RecordedScene], together: Processes) -> None:
        self._run, self._together = run, together
        device = together.device
        self._settings = described(run)
        torch.backends.cudnn.benchmark = True  # frames are of few sizes
        self._checkpoint_path = run.output / "checkpoint.pt"
        torch.manual_seed(run.seed)
        library = load_library(run.data, recorded)
        self._header = {
            "run": json.dumps(self._settings),
            "data": json.dumps(library.hashes),
            "weights": json.dumps(_weight_hashes(run)),
            "torch": torch.__version__,
        }
        self._stream = CompositionStream(
            library.foregrounds,
            library.rooms,
            run.sizes,
            run.batch,
            run.seed,
            run.data.max_depth,
            device if run.workers == 0 else None,
            together.rank,
            together.world,
            _pools(run, self._header["data"]),
            library.recorded,
            run.data.recorded_share,
            run.pairs,
            run.composition,
            run.recorded,
        )
        self._validation = ValidationSet(
            library.held_out_foregrounds,
            library.held_out_rooms,
            run.sizes,
            run.validation.frames,
            run.data.max_depth,
            run.validation.seed,
        )
        # torch's type hints lack this form of to().
        self._network: MattingNetwork = starting_network(run).to(  # type: ignore[call-overload]
            device, memory_format=torch.channels_last
        )
        self._frozen_base = run.stage == "refiner" and run.freeze_base
        if self._frozen_base:
            self._network.base.requires_grad_(False)
        # The mean is of the network itself; what processes share stays out of it.
        self._mean = AveragedModel(
            self._network, multi_avg_fn=get_ema_multi_avg_fn(run.mean_decay), use_buffers=True
        )
        self._optimizer = torch.optim.AdamW(
            parameter_groups(self._network, run.rates), weight_decay=1e-4
        )
        self._stepper = Stepper(
            together.shared(self._network),
            self._optimizer,
            training_loss(run.teacher, device),
            alone=together.world == 1,
        )
        self._step = 0
        self._spent = 0.0

    def train(self) -> ValidationScores:
        """Trains to the end."""
        with self._renewal() as renewal:
            return self._train(renewal)

    @contextmanager
    def _renewal(self) -> Iterator[Renewal | None]:
        """The processes that renew the pool, where there are to be any."""
        pool = self._run.pool
        first_here = int(os.environ.get("LOCAL_RANK", self._together.rank)) == 0
        if not first_here or pool is None or not pool.renewing:
            yield None
            return
        renewal = self._stream.renewal(pool.renewing)
        try:
            yield renewal
        finally:
            renewal.end()

    def _train(self, renewal: Renewal | None) -> ValidationScores:
        self._make_output()
        resumed = self._resume()
        self._write_settings()
        log = open_log(self._run.output / "logs", self._step) if self._together.first else None
        if self._together.first and not resumed:
            self._save_checkpoint()
        scores = self._validation.score(self._averaged)
        self._train_mode()
        batches = self._stream.batches(self._step, self._run.workers)
        loss, begun = 0.0, time.monotonic() - self._spent
        with tqdm(
            total=1.0,
            initial=min(1.0, self._share()),
            disable=None if self._together.first else True,
            bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}",
            desc=self._run.stage,
        ) as bar:
            while (share := self._share()) < 1:
                self._stepper.set_rates(self._step, share, WARM_UP, LAST_RATE)
                loss = self._stepper.step(_next(batches, renewal).to(self._together.device))
                self._mean.update_parameters(self._network)
                self._step += 1
                self._spent = time.monotonic() - begun
                if log is not None and self._step % _LOG_EVERY == 0:
                    log.add("loss/training", loss, self._step)
                    log.add("rate/encoder", self._optimizer.param_groups[0]["lr"], self._step)
                if self._step % self._run.validation.every == 0:
                    scores = self._validate(log)
                if self._together.first and self._step % self._run.checkpoint_every == 0:
                    assert log is not None
                    log.flush()
                    self._save_checkpoint()
                    self._save_weights(scores)
                bar.set_postfix_str(
                    f"step {self._step}, loss {loss:.4f}, validation SAD {scores.sad:.2f}",
                    refresh=False,
                )
                bar.update(min(1.0, self._share()) - bar.n)
        scores = self._validate(log)
        if self._together.first:
            self._save_checkpoint()
            self._save_weights(scores)
        if log is not None:
            log.close()
        return scores

    @property
    def _averaged(self) -> MattingNetwork:
        averaged = self._mean.module
        assert isinstance(averaged, MattingNetwork)
        return averaged

    def _share(self) -> float:
        """Share of the training that is done, the same in all processes."""
        if self._run.steps is not None:
            return self._step / self._run.steps
        assert self._run.minutes is not None
        return self._together.agreed(self._spent / (60 * self._run.minutes))

    def _train_mode(self) -> None:
        self._network.train()
        if self._run.keep_norms:
            keep_norms(self._network)
        if self._frozen_base:
            self._network.base.eval()

    def _validate(self, log: Log | None) -> ValidationScores:
        scores = self._validation.score(self._averaged)
        if log is not None:
            log.add("validation/SAD", scores.sad, self._step)
            log.add("validation/MSE", scores.mse, self._step)
            log.add("validation/soft error", scores.soft, self._step)
            for number, picture in enumerate(self._validation.pictures(self._averaged)):
                log.show(f"validation/soft {number}", picture, self._step)
        return scores

    # -- files ----------------------------------------------------------------------------

    def _make_output(self) -> None:
        if self._together.first:
            with self._writable_output():
                self._run.output.mkdir(parents=True, exist_ok=True)

    def _write_settings(self) -> None:
        if self._together.first:
            settings = json.dumps(self._settings, indent=2) + "\n"
            with self._writable_output():
                (self._run.output / "run.json").write_text(settings, encoding="utf-8")

    @contextmanager
    def _writable_output(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FitError(
                f"{self._run.output} can't be written to ({error}): choose another output"
            ) from error

    def _save_weights(self, scores: ValidationScores) -> None:
        header = {
            **self._header,
            "steps": str(self._step),
            "seconds": f"{self._spent:.0f}",
            "validation_sad": f"{scores.sad:.4f}",
            "validation_mse": f"{scores.mse:.4f}",
        }
        save_network(self._averaged, self._run.output / WEIGHTS, header)

    def _save_checkpoint(self) -> None:
        save_checkpoint(
            self._checkpoint_path,
            {
                "settings": self._comparable(),
                "weights": self._header["weights"],
                "step": self._step,
                "spent": self._spent,
                **training_state(self._network, self._mean, self._stepper),
            },
        )

    def _resume(self) -> bool:
        """Goes back to the last checkpoint; False where there is none."""
        state = self._together.handed_out(
            load_checkpoint(self._checkpoint_path) if self._together.first else None
        )
        if state is None:
            return False
        weights = self._header["weights"]
        # Checkpoints from before they told of weights can go on.
        if (state["settings"], state.get("weights", weights)) != (self._comparable(), weights):
            raise FitError(
                f"{self._checkpoint_path} is of a run with other settings or data, or of other "
                "weights to start or learn from: give another output, or delete that folder to "
                "train anew"
            )
        restore_training(state, self._network, self._mean, self._stepper)
        self._step, self._spent = int(state["step"]), float(state["spent"])
        return True

    def _comparable(self) -> str:
        """What must be the same for a training to go on."""
        free = ("workers", "checkpoint_every")
        settings = {key: value for key, value in self._settings.items() if key not in free}
        if self._run.pool is not None:
            # How many processes renew it is free as well; whether any do is not.
            renewed = {} if self._run.pool.renewing is None else {"renewed": True}
            kept = {k: v for k, v in settings["pool"].items() if k != "renewing"}
            settings["pool"] = {**kept, **renewed}
        return json.dumps([settings, self._header["data"]])


def _next(batches: Iterator[Batch | PackedBatch], renewal: Renewal | None) -> Batch | PackedBatch:
    """The next batch; what ended the processes of a renewal is told before what came of it."""
    try:
        return next(batches)
    finally:
        if renewal is not None:
            renewal.check()


def _pools(run: Run, data: str) -> list[FramePool] | None:
    """The run's pools, one of each size: folders of their own for all that decides the frames."""
    if run.pool is None:
        return None
    pools = []
    for size in run.sizes:
        renewed = run.pool.renewing is not None
        made_of = (
            *(data, run.data.invented, run.data.held_out, run.data.max_depth),
            run.data.recorded_share if run.data.recordings else None,
            *(size, run.seed, renewed, run.pairs, run.composition, run.recorded),
        )
        digest = hashlib.sha256(repr(made_of).encode())
        for module in (blind_sides, frame_pool):
            digest.update(inspect.getsource(module).encode())
        for file in sorted((files("dart_ros") / "simulation").iterdir(), key=lambda f: f.name):
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
        folder = run.pool.folder / digest.hexdigest()[:16]
        pools.append(FramePool(folder, run.pool.frames, run.seed, renewed))
    return pools


def _weight_hashes(run: Run) -> dict[str, str]:
    """SHA-256 of the files of weights that a run names."""
    files = {
        "start": run.start.weights or run.start.imagenet,
        "teacher": run.teacher.weights if run.teacher else None,
    }
    return {name: file_hash(file) for name, file in files.items() if file is not None}


def starting_network(run: Run) -> MattingNetwork:
    """The network before the first step.

    Raises:
        FitError: if the weights can't be read or are of another network than the run's.
    """
    if run.start.weights is not None:
        return grown(load_network(run.start.weights), run.network)
    network = MattingNetwork(run.network)
    if run.start.imagenet is not None:
        load_imagenet_encoder(network.base.encoder, run.start.imagenet)
    return network
