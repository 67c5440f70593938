from __future__ import annotations

import resource
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dart_ros.errors import FitError
from dart_ros.fitting.logs import open_log


def test_a_log_that_goes_on_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    log = open_log(tmp_path, 0)
    for step in (1, 2, 3):
        log.add("loss", 10.0 + step, step)
    log.close()
    log = open_log(tmp_path, 1)
    for step in (2, 3):
        log.add("loss", 20.0 + step, step)
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(1, 11.0), (2, 22.0), (3, 23.0)]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # TensorBoard's thread dies of it, and pytest would tell of that.
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    log = open_log(tmp_path / "logs", 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel refuses to write past the limit, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(FitError, match=r"logs can't be written to .*free some disk space"):
            for step in range(20_000):
                log.add("loss", 1.0, step)
            log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FitError, match=r"file/logs can't be written to"):
        open_log(tmp_path / "file" / "logs", 0)


def test_pictures_are_seen_in_the_log(tmp_path: Path) -> None:
    log = open_log(tmp_path, 0)
    log.show("soft", torch.linspace(0, 1, 96).expand(3, 32, 96), 7)
    log.close()
    (event,) = EventAccumulator(str(tmp_path)).Reload().Images("soft")
    assert (event.step, event.width, event.height) == (7, 96, 32)
    seen = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert seen is not None and (seen[0, 0].max(), seen[31, 95].min()) == (0, 255)
