"""Post-matting in its own process: the result, what libraries print, and what can go wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dart_ros.errors import PostMattingError
from dart_ros.postmatting import create_post_matting
from dart_ros.postmatting.process import PostMattingProcess


def picture() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    alpha = np.tile(np.clip((np.arange(40) - 14) / 8, 0, 1), (24, 1))
    color = np.stack([220 * alpha, 0 * alpha, 220 * (1 - alpha)], axis=2).round().astype(np.uint8)
    trimap = np.full((24, 40), 128, np.uint8)
    trimap[:, :10], trimap[:, 30:] = 0, 255
    return color, trimap


def stand_in(process: PostMattingProcess, program: str) -> PostMattingProcess:
    process._command = [sys.executable, "-c", program]
    return process


def test_it_is_the_method() -> None:
    pytest.importorskip("pymatting")
    color, trimap = picture()
    wanted = create_post_matting("closed-form").refine(color, trimap)
    np.testing.assert_array_equal(PostMattingProcess("closed-form").refine(color, trimap), wanted)


def test_what_a_library_prints_is_not_the_result(tmp_path: Path) -> None:
    pytest.importorskip("pymatting")
    color, trimap = picture()
    chatter = (
        "import sys, pymatting; real = pymatting.estimate_alpha_cf\n"
        "def loud(*args): print('PERFORMANCE WARNING'); return real(*args)\n"
        "pymatting.estimate_alpha_cf = loud\n"
        "from dart_ros.postmatting.__main__ import main; sys.exit(main(['closed-form']))"
    )
    found = stand_in(PostMattingProcess("closed-form"), chatter).refine(color, trimap)
    assert found.shape == trimap.shape


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ('print(\'{"error": "no weights here"}\'); raise SystemExit(1)', "^no weights here$"),
        ("raise SystemExit(3)", "ended with status 3"),
    ],
)
def test_a_process_that_fails(program: str, reason: str) -> None:
    with pytest.raises(PostMattingError, match=reason):
        stand_in(PostMattingProcess("closed-form"), program).refine(*picture())


def test_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dart_ros.postmatting.process._PATIENCE", 0.2)
    sleepy = "import time; time.sleep(600)"
    with pytest.raises(PostMattingError, match="took more than"):
        stand_in(PostMattingProcess("closed-form"), sleepy).refine(*picture())


def test_after_kill_nothing_starts() -> None:
    process = PostMattingProcess("closed-form")
    process.kill()
    with pytest.raises(PostMattingError, match="given up"):
        process.refine(*picture())
