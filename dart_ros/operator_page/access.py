"""Who may use the page: this machine alone, or whoever knows the token.

A page of another site must not reach the robot through the operator's browser: requests must name
this server as their host (DNS rebinding) and, where the browser tells it, as their origin.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

COOKIE = "dart_ros_session"
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_SHORTEST_TOKEN = 12
_MOST_SESSIONS = 64


class AccessError(Exception):
    """A request is refused.

    Attributes:
        status: status code of HTTP, 401 or 403.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Access:
    """Checks requests.

    Args:
        host: address on which the page is served.
        token: what the page asks for; empty for none, on this machine alone.

    Raises:
        ValueError: if the page would be open to a network without a token, or the token is short.
    """

    def __init__(self, host: str, token: str) -> None:
        if not is_local(host) and not token:
            raise ValueError(
                f"host '{host}' opens the page to the network: set the parameter 'token' to a "
                "secret of at least 12 characters, which the page will ask for"
            )
        if token and len(token) < _SHORTEST_TOKEN:
            raise ValueError(
                f"the token has {len(token)} characters: use at least {_SHORTEST_TOKEN}"
            )
        self._local = is_local(host)
        self._token = token
        self._sessions: list[str] = []

    @property
    def asks(self) -> bool:
        """Whether the page asks for a token."""
        return bool(self._token)

    def log_in(self, token: str) -> str:
        """Value of the session's cookie for a right token.

        Raises:
            AccessError: 401 if the token is wrong.
        """
        if not self._token or not hmac.compare_digest(token.encode(), self._token.encode()):
            raise AccessError(401, "the token is wrong")
        session = secrets.token_urlsafe(32)
        self._sessions = [*self._sessions, session][-_MOST_SESSIONS:]
        return session

    def check_site(self, headers: Mapping[str, str]) -> None:
        """Refuse requests that another site's page makes.

        Raises:
            AccessError: 403.
        """
        host = headers.get("Host", "")
        if self._local and _name(host) not in _LOCAL:
            raise AccessError(403, "the page is served to this machine alone, as localhost")
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise AccessError(403, "requests of other sites are refused")
        if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise AccessError(403, "requests of other sites are refused")

    def check_session(self, session: str) -> None:
        """Refuse requests without a session, where a token is asked for.

        Raises:
            AccessError: 401.
        """
        if self._token and not any(
            hmac.compare_digest(session.encode(), known.encode()) for known in self._sessions
        ):
            raise AccessError(401, "log in with the token")


def is_local(host: str) -> bool:
    """Whether an address reaches no further than this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return urlsplit(f"//{host}").hostname or ""
