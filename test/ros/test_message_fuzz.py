"""A short run of the fuzzer of messages; the long one is benchmark/message_fuzz.py."""

from __future__ import annotations

import pytest
from robot import DOMAIN

from benchmark.message_fuzz import LOG_LIMIT, Fuzz

pytestmark = pytest.mark.ros


def test_broken_messages_end_silence_or_mislead_no_node() -> None:
    with Fuzz(seed=1, domain=DOMAIN) as fuzz:
        result = fuzz.run(600)
        assert result.messages == 600 and max(result.recoveries) < 20
        assert result.log_bytes < LOG_LIMIT / 10
        log = fuzz.log.decode(errors="replace")
        assert "Traceback" not in log and "\x1b[2J" not in log
        assert not any(line.startswith("[ERROR] forged") for line in log.splitlines())
