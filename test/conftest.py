"""What holds for all tests."""

from __future__ import annotations

import os
import tempfile

# pymatting compiles for more than a minute when it is first imported; small pictures need no
# compiler.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

# Engines that tests build are neither taken from the user's cache nor left there.
_cache = tempfile.TemporaryDirectory()
os.environ["XDG_CACHE_HOME"] = _cache.name
