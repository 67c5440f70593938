"""Puts this machine's include folders into the CMake files of the ROS wheels.

The wheels carry the paths of the machine that built them. Run by the interpreter of the virtual
environment that holds them.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy

BAKED_PYTHON = re.compile(r"/opt/python/cp3\d+-cp3\d+/include/python3\.\d+")
BAKED_NUMPY = re.compile(
    r"/opt/python/cp3\d+-cp3\d+/lib/python3\.\d+/site-packages/numpy/_?core/include"
)


def main() -> int:
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").exists():
        print(
            f"error: {include} has no Python.h: install the headers of this Python "
            "(Debian: sudo apt install python3-dev).",
            file=sys.stderr,
        )
        return 1
    patched = 0
    for path in Path(sys.prefix, "share").rglob("*.cmake"):
        before = path.read_text(encoding="utf-8")
        after = BAKED_PYTHON.sub(lambda _: include, before)
        after = BAKED_NUMPY.sub(lambda _: numpy.get_include(), after)
        if after != before:
            path.write_text(after, encoding="utf-8")
            patched += 1
    print(f"Include folders set in {patched} CMake files of the ROS wheels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
