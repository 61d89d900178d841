"""Who may look: requests that only read, by a name of this machine, with the token where there is one."""

from __future__ import annotations

import hashlib
import hmac
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import Message, Receive, Scope, Send

from werkbund.core.errors import ConfigError
from werkbund.core.hosts import is_address, is_loopback

COOKIE = "werkbund_dashboard"
SHORTEST_TOKEN = 20

HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""On every answer: the page asks nobody else for anything, and nobody else shows it."""


@dataclass(frozen=True)
class Door:
    """Say where the dashboard listens and who may come in.

    Parameters
    ----------
    host, port
        The address.
    token
        What a reader must know; empty for nothing, which loopback alone allows.
    certificate, key
        PEM files for TLS; None without.
    names
        By which browsers may call this machine, beside its own name and addresses.
    """

    host: str = "127.0.0.1"
    port: int = 8350
    token: str = ""
    certificate: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("--certificate and --key must be given together, got one of them; add the other")
        if self.token and len(self.token) < SHORTEST_TOKEN:
            raise ConfigError(
                f"--token-file must hold at least {SHORTEST_TOKEN} characters, got {len(self.token)}; write one with "
                "`openssl rand -hex 24`"
            )
        if not is_loopback(self.host) and not (self.token and self.certificate):
            raise ConfigError(
                f"--host must be a loopback address without --token-file, --certificate and --key, got {self.host!r}: "
                "whoever reaches it would read everything; add all three, or listen on 127.0.0.1"
            )

    @property
    def address(self) -> str:
        """The page's address, with the token."""
        scheme, host = "https" if self.certificate else "http", f"[{self.host}]" if ":" in self.host else self.host
        shown = socket.gethostname() if self.host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
        return f"{scheme}://{shown}:{self.port}/" + (f"?{urlencode({'token': self.token})}" if self.token else "")

    def knows(self, header: str) -> bool:
        """Say whether a Host header names this machine.

        A page elsewhere may let its own name point here, but a browser then sends that name: addresses are safe.
        """
        name = header.rsplit(":", 1)[0] if not header.endswith("]") else header
        name = name.strip("[]").lower()
        return name in {"localhost", self.host, socket.gethostname().lower(), *self.names} or is_address(name)


class Doorkeeper:
    """Stand before an application: refuse who may not look, and add the headers that keep the page to itself.

    Parameters
    ----------
    app
        The application.
    door
        Who may come in.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], door: Door) -> None:
        self._app, self._door = app, door
        self._badge = hashlib.sha256(f"werkbund dashboard {door.token}".encode()).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        if scope["type"] == "http":
            await (self._refusal(scope) or self._app)(scope, receive, sealed)

    def _refusal(self, scope: Scope) -> PlainTextResponse | RedirectResponse | None:
        """Return the answer to who may not look, or is sent on with the token in a cookie; None for who may."""
        headers = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("The dashboard only shows.\n", 405, {"allow": "GET, HEAD"})
        if not self._door.knows(headers.get("host", "")):
            return PlainTextResponse("This is no name of this machine; start with --name to allow it.\n", 421)
        if not self._door.token:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        told = query.pop("token", [""])[0]
        if told and self._fits(told):
            return self._admitted(scope["path"], urlencode(query, doseq=True))
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self._fits(bearer) or hmac.compare_digest(_cookie(headers).encode(), self._badge.encode()):
            return None
        return PlainTextResponse("A token is needed: open the address that `werkbund dashboard` printed.\n", 401)

    def _fits(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._door.token.encode())

    def _admitted(self, path: str, query: str) -> RedirectResponse:
        """Return an answer that keeps the token in a cookie, and takes it out of the address."""
        place = "/" + path.lstrip("/\\")  # never another machine's
        answer = RedirectResponse(place + (f"?{query}" if query else ""), 303)
        secure = self._door.certificate is not None
        answer.set_cookie(COOKIE, self._badge, httponly=True, samesite="strict", secure=secure)
        return answer


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
