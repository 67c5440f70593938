"""Who may use the page."""

from __future__ import annotations

import pytest

from dart_ros.operator_page.access import Access, AccessError, is_local

TOKEN = "correct horse battery"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "robot.example", ""])
def test_a_network_needs_a_token(host: str) -> None:
    with pytest.raises(ValueError, match="token"):
        Access(host, "")
    with pytest.raises(ValueError, match="at least 12"):
        Access(host, "short")
    assert Access(host, TOKEN).asks


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_needs_none(host: str) -> None:
    assert is_local(host) and not Access(host, "").asks


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:8099"},  # DNS rebinding
        {"Host": "127.0.0.1.evil.example"},
        {},
        {"Host": "localhost:8099", "Origin": "http://evil.example"},
        {"Host": "localhost:8099", "Origin": "http://localhost:3000"},
        {"Host": "localhost:8099", "Origin": "null"},
        {"Host": "localhost:8099", "Sec-Fetch-Site": "cross-site"},
        {"Host": "localhost:8099", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(AccessError) as refused:
        Access("127.0.0.1", "").check_site(headers)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "localhost:8099"},
        {"Host": "127.0.0.1:8099", "Origin": "http://127.0.0.1:8099"},
        {"Host": "[::1]:8099", "Origin": "http://[::1]:8099", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_the_page_itself_is_let_in(headers: dict[str, str]) -> None:
    Access("127.0.0.1", "").check_site(headers)


def test_a_session_comes_from_the_token_alone() -> None:
    access = Access("0.0.0.0", TOKEN)
    for session in ("", "x", TOKEN):
        with pytest.raises(AccessError) as refused:
            access.check_session(session)
        assert refused.value.status == 401
    with pytest.raises(AccessError):
        access.log_in("wrong horse battery")
    session = access.log_in(TOKEN)
    assert len(session) > 30 and TOKEN not in session
    access.check_session(session)
    # Names of a network's hosts are not known, so any is let in; its pages must be this server's.
    access.check_site({"Host": "robot.local:8099"})


def test_without_a_token_nobody_can_log_in() -> None:
    with pytest.raises(AccessError):
        Access("127.0.0.1", "").log_in("")
