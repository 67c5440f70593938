"""What holds for all tests."""

from __future__ import annotations

import os

# pymatting compiles for more than a minute when it is first imported; small pictures need no
# compiler.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
