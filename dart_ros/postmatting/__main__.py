"""Post-matting of one picture as a program, see :mod:`dart_ros.postmatting.process`."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import IO

import numpy as np

from dart_ros.errors import PostMattingError
from dart_ros.postmatting import create_post_matting


def main(arguments: list[str]) -> int:
    """Reads color and trimap (npz) from standard input and writes alpha (npy) to standard output.

    Args:
        arguments: the name of the method, and where it has weights their folder.

    Returns:
        The exit status: 0, or 1 with the reason in the last line of standard error.
    """
    # Libraries print what they like; what they print must not get into the result.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as output:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        return _refine(arguments, output)


def _refine(arguments: list[str], output: IO[bytes]) -> int:
    name, *weights = arguments
    given = np.load(io.BytesIO(sys.stdin.buffer.read()))
    try:
        method = create_post_matting(name, Path(weights[0]) if weights else None)
        alpha = method.refine(given["color"], given["trimap"])
    except PostMattingError as error:
        print(error, file=sys.stderr)
        return 1
    made = io.BytesIO()  # a pipe has no position, which NumPy asks for
    np.save(made, alpha)
    output.write(made.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
