from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from recorded_example import write_recording
from safetensors import safe_open
from safetensors.torch import load_file
from waiting import wait_for

from dart_ros import cli
from dart_ros.fitting.library import folder_hash, load_library
from dart_ros.fitting.optimization import Stepper
from dart_ros.fitting.processes import Processes
from dart_ros.fitting.run import Data, load_run
from dart_ros.fitting.training import _Training
from dart_ros.fitting.weights import load_network, save_network
from dart_ros.method.config import NetworkConfig
from dart_ros.method.network import MattingNetwork
from dart_ros.session.recorded_scene import load_recorded_scene
from dart_ros.simulation.frames import Batch

STEPS = 3


def write_run(folder: Path, library: Path, stage: str, **changes: object) -> Path:
    """A run of a few steps on tiny frames."""
    run: dict[str, object] = {
        "stage": stage,
        "output": str(folder / "output"),
        "data": {"foregrounds": [str(library)], "invented": 2, "held_out": 2},
        "sizes": [[32, 48]],
        "batch": 2,
        "steps": STEPS,
        "workers": 0,
        "mean_decay": 0.5,
        "validation": {"frames": 1, "every": 2},
        "checkpoint_every": 1,
    }
    folder.mkdir(exist_ok=True)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**run, **changes}))
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("teacher") / "weights.safetensors"
    save_network(MattingNetwork(NetworkConfig("resnet50")), path, {})
    return path


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    path = tmp_path_factory.mktemp("student") / "weights.safetensors"
    save_network(MattingNetwork(), path, {})
    return path


HELD = """
    import itertools, sys, time
    from dart_ros import cli
    from dart_ros.fitting import training

    write, numbers = training.save_checkpoint, itertools.count()

    def write_two(path, state):
        number = next(numbers)
        if number == 2:
            time.sleep(600)
        write(path, state)
        if number == 1:
            path.with_name("second").touch()

    training.save_checkpoint = write_two
    sys.exit(cli.main(sys.argv[1:]))
"""
"""A command that tells of its second checkpoint, and is there to be killed: it writes no third."""


@pytest.mark.parametrize("stage", ["teacher", "student", "distilled", "refiner"])
def test_killed_and_started_again_it_ends_the_same(
    stage: str, library: Path, tmp_path: Path, teacher: Path, student: Path
) -> None:
    changes: dict[str, object] = {}
    if stage == "distilled":
        changes["teacher"] = {"weights": str(teacher)}
    if stage == "refiner":
        changes["start"] = {"weights": str(student)}
    stage = "student" if stage == "distilled" else stage
    whole = write_run(tmp_path / "whole", library, stage, **changes)
    assert cli.main(["train", stage, str(whole)]) == 0
    expected = load_file(tmp_path / "whole" / "output" / "weights.safetensors")

    # The same again, killed when its second checkpoint is there, wherever it is then.
    broken = write_run(tmp_path / "broken", library, stage, **changes)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HELD), "train", stage, str(broken)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    ) as running:
        output = tmp_path / "broken" / "output"
        until = time.monotonic() + 300
        while running.poll() is None and time.monotonic() < until:
            if (output / "second").exists():
                break
            time.sleep(0.002)
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    assert torch.load(output / "checkpoint.pt", weights_only=True)["step"] == 1
    assert cli.main(["train", stage, str(broken)]) == 0
    found = load_file(tmp_path / "broken" / "output" / "weights.safetensors")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())

    if stage == "refiner":
        start = load_file(student)
        changed = {
            name.split(".")[0] for name in start if not torch.equal(start[name], found[name])
        }
        assert changed == {"refiner"}


def test_norms_are_kept_while_all_else_learns(library: Path, tmp_path: Path, student: Path) -> None:
    start = {"weights": str(student)}
    sizes = [[32, 48], [64, 96]]
    run = write_run(tmp_path, library, "student", start=start, keep_norms=True, sizes=sizes)
    assert cli.main(["train", "student", str(run)]) == 0
    before, after = load_file(student), load_file(tmp_path / "output" / "weights.safetensors")
    statistics = {name for name in before if name.endswith(("running_mean", "running_var"))}
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    assert not torch.equal(before["refiner.head.weight"], after["refiner.head.weight"])
    assert not torch.equal(before["base.decoder.head.weight"], after["base.decoder.head.weight"])


def test_two_processes_share_a_batch(
    library: Path, tmp_path: Path, student: Path, in_two_processes: Callable[..., None]
) -> None:
    """They end where one with the whole batch does; each for itself they would not."""
    changes: dict[str, object] = {
        "batch": 4,
        "mean_decay": 0.0,
        "start": {"weights": str(student)},
        "keep_norms": True,  # batch norm's own statistics are of what each process sees
    }
    alone = write_run(tmp_path / "alone", library, "student", **changes)
    assert cli.main(["train", "student", str(alone)]) == 0
    shared = write_run(tmp_path / "shared", library, "student", **changes)
    in_two_processes("-m", "dart_ros.cli", "train", "student", shared)
    start = load_network(student).state_dict()

    def learnt(name: str) -> torch.Tensor:
        state = torch.load(tmp_path / name / "output" / "checkpoint.pt", weights_only=True)
        assert state["step"] == STEPS
        steps = [state["network"][key] - value for key, value in start.items()]
        return torch.cat([step.flatten() for step in steps if step.is_floating_point()])

    one, two = learnt("alone"), learnt("shared")
    # Processes that don't share gradients are off by 0.45 of it.
    assert float((two - one).norm()) < 0.05 * float(one.norm())


def test_weights_tell_what_they_were_trained_on(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, library, "student", steps=1, network={"depth_in_base": False})
    assert cli.main(["train", "student", str(run)]) == 0
    path = tmp_path / "output" / "weights.safetensors"
    assert str(path) in capsys.readouterr().out
    with safe_open(str(path), framework="pt") as file:
        header = file.metadata()
    settings, data = json.loads(header["run"]), json.loads(header["data"])
    assert settings["rates"] == {"encoder": 1e-4, "aspp": 5e-4, "decoder": 5e-4, "refiner": 5e-4}
    assert settings["network"]["depth_in_base"] is False
    assert list(data) == [library.name] and len(data[library.name]) == 64
    assert str(tmp_path) not in json.dumps(header)
    assert load_network(path).config == NetworkConfig(depth_in_base=False)
    assert list((tmp_path / "output" / "logs").glob("events.*"))

    # Other settings would not go on where this one ended, whose settings stay as they are.
    settings_file = tmp_path / "output" / "run.json"
    before = settings_file.read_text()
    assert json.loads(before) == settings
    write_run(tmp_path, library, "student", steps=2, network={"depth_in_base": False})
    assert cli.main(["train", "student", str(run)]) == 1
    assert "other settings or data" in capsys.readouterr().err
    assert settings_file.read_text() == before
    assert cli.main(["train", "teacher", str(run)]) == 1
    assert "is a run of the stage student" in capsys.readouterr().err


def test_recordings_are_trained_on(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = write_recording(tmp_path / "room")
    data = {"foregrounds": [str(library)], "invented": 2, "held_out": 2, "recordings": [str(room)]}
    run = write_run(tmp_path, library, "student", steps=2, data=data)
    seen: list[Batch] = []
    step = Stepper.step

    def watched(stepper: Stepper, batch: Batch) -> float:
        seen.append(batch)
        return step(stepper, batch)

    monkeypatch.setattr(Stepper, "step", watched)
    data["recorded_share"] = 0.9
    write_run(tmp_path, library, "student", steps=2, data=data)
    assert cli.main(["train", "student", str(run)]) == 0
    weights = torch.cat([batch.weight for batch in seen])
    # Nobody knows the truth of all pixels of a real frame.
    assert bool((weights == 0).any()) and bool((weights == 1).any())
    with safe_open(str(tmp_path / "output" / "weights.safetensors"), framework="pt") as file:
        data_hashes = json.loads(file.metadata()["data"])
    assert list(data_hashes) == [library.name, "room"]
    assert data_hashes["room"] == load_recorded_scene(room).digest()


def test_weights_of_the_same_name_are_told_apart(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / name / "weights.safetensors" for name in ("start", "teacher")}

    def retrain(name: str, seed: int) -> None:
        torch.manual_seed(seed)
        files[name].parent.mkdir(exist_ok=True)
        save_network(MattingNetwork(), files[name], {})

    retrain("start", 1)
    retrain("teacher", 2)
    given = {name: {"weights": str(file)} for name, file in files.items()}
    run = write_run(tmp_path / "run", library, "student", steps=1, **given)
    command = ["train", "student", str(run)]
    assert cli.main(command) == 0
    with safe_open(str(tmp_path / "run" / "output" / "weights.safetensors"), "pt") as file:
        hashes = json.loads(file.metadata()["weights"])
    assert hashes == {
        name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()
    }
    assert cli.main(command) == 0
    for name, file in files.items():
        before = file.read_bytes()
        retrain(name, 3)
        assert cli.main(command) == 1
        assert "of other weights to start or learn from" in capsys.readouterr().err
        file.write_bytes(before)
    # A checkpoint that doesn't tell is taken.
    checkpoint = tmp_path / "run" / "output" / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True)
    del state["weights"]
    torch.save(state, checkpoint)
    assert cli.main(command) == 0
    files["start"].unlink()
    assert cli.main(command) == 1
    assert f"{files['start']} can't be read" in capsys.readouterr().err


def test_a_training_begun_on_a_cpu_goes_on_on_a_gpu(library: Path, tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, library, "student", steps=1))
    training = _Training(run, (), Processes(0, 1, torch.device("cpu")))
    training.train()
    # What a GPU has: a scaler with a state.
    scaler = training._stepper.scaler = torch.amp.GradScaler("cpu", enabled=True)
    assert training._resume() and scaler.get_scale() == 2**16
    # Its state is kept from then on.
    training._stepper.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, enabled=True)
    training._save_checkpoint()
    training._stepper.scaler = scaler
    assert training._resume() and scaler.get_scale() == 8.0


def test_folders_of_the_same_name_have_a_hash_each(library: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / library.name
    shutil.copytree(library, mine)
    (mine / "note.txt").write_text("another folder")
    third = tmp_path / "third" / library.name
    shutil.copytree(library, third)
    data = Data(foregrounds=(library, mine), pictures=(), invented=2, held_out=2)
    hashes = load_library(data).hashes
    name = library.name
    assert hashes == {name: folder_hash(library), f"{name}-2": folder_hash(mine)}
    assert hashes[name] != hashes[f"{name}-2"]
    three = load_library(dataclasses.replace(data, foregrounds=(library, mine, third))).hashes
    assert three == {**hashes, f"{name}-3": folder_hash(library)}


def test_runs_of_the_same_frames_share_a_pool(library: Path, tmp_path: Path) -> None:
    pool = {"folder": str(tmp_path / "pool"), "frames": 3}
    for name, changes in (
        ("full", {}),
        ("color", {"network": {"depth_in_base": False}}),
        ("other", {"seed": 5}),
    ):
        run = write_run(tmp_path / name, library, "student", pool=pool, **changes)
        assert cli.main(["train", "student", str(run)]) == 0
        folders = list((tmp_path / "pool").iterdir())
        assert len(folders) == (2 if name == "other" else 1)
        assert all(len(list(folder.glob("*.safetensors"))) == 3 for folder in folders)


def test_steps_take_what_is_in_a_pool_under_renewal(library: Path, tmp_path: Path) -> None:
    pool = {"folder": str(tmp_path / "pool"), "frames": 3, "renewing": 1}
    run = write_run(tmp_path / "run", library, "student", pool=pool, workers=1)
    assert cli.main(["train", "student", str(run)]) == 0
    assert len(list((tmp_path / "pool").glob("*/*.safetensors"))) == 3
    wait_for(lambda: not multiprocessing.active_children())


def test_the_number_of_processes_that_renew_a_pool_is_free(library: Path, tmp_path: Path) -> None:
    """But not whether it is renewed, which decides the frames."""
    pool = {"folder": str(tmp_path / "pool"), "frames": 3, "renewing": 1}
    run = write_run(tmp_path / "run", library, "student", pool=pool, workers=1)
    assert cli.main(["train", "student", str(run)]) == 0
    for renewing, status in ((2, 0), (None, 1)):
        changed = {**pool, "renewing": renewing}
        run = write_run(tmp_path / "run", library, "student", pool=changed, workers=1)
        assert cli.main(["train", "student", str(run)]) == status
