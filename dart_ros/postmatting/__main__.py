"""Post-matting of one picture as a program, see :mod:`dart_ros.postmatting.process`."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

import numpy as np

from dart_ros.child_process import say
from dart_ros.errors import PostMattingError
from dart_ros.postmatting import create_post_matting


def main(arguments: list[str]) -> int:
    """Reads color and trimap (npz) from standard input, and says alpha (npy in base64) as
    :mod:`dart_ros.child_process` has it.

    Args:
        arguments: the name of the method, and where it has weights their folder.

    Returns:
        The exit status: 0, or 1 if the method can't be had or fails.
    """
    name, *weights = arguments
    given = np.load(io.BytesIO(sys.stdin.buffer.read()))
    try:
        method = create_post_matting(name, Path(weights[0]) if weights else None)
        alpha = method.refine(given["color"], given["trimap"])
    except PostMattingError as error:
        say(error=str(error))
        return 1
    made = io.BytesIO()
    np.save(made, alpha)
    say(done=True, alpha=base64.b64encode(made.getvalue()).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
