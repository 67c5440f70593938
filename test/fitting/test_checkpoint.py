from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import torch

from dart_ros.errors import FitError
from dart_ros.fitting.checkpoint import load_checkpoint, save_checkpoint


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert load_checkpoint(path) is None
    save_checkpoint(path, {"step": 3, "weights": {"a": torch.arange(4.0)}})
    state = load_checkpoint(path)
    assert state is not None and state["step"] == 3
    assert state["weights"]["a"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(
            FitError, match=r"checkpoint\.pt can't be written .*free some disk space"
        ):
            save_checkpoint(path, {"step": 2, "weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    state = load_checkpoint(path)
    assert state is not None and state["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"weights": torch.zeros(1000)})
    whole = path.read_bytes()
    torch.save([1, 2], tmp_path / "list.pt")
    for content in (b"", b"no checkpoint", whole[:500], (tmp_path / "list.pt").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(FitError, match=r"checkpoint\.pt .*delete it and train anew"):
            load_checkpoint(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FitError, match="named pipe"):
        load_checkpoint(path)
