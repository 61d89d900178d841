"""The dashboard's addresses: the page, its assets, runs as JSON, and what is new of a run as server-sent events."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jinja2
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from werkbund._version import __version__
from werkbund.core.arrays import plain
from werkbund.core.errors import FederationError
from werkbund.dashboard.comparing import differences, figures
from werkbund.dashboard.guard import Door, Doorkeeper
from werkbund.dashboard.runs import RunList, Seen
from werkbund.dashboard.view import rounds, state, summary
from werkbund.dashboard.words import Phrases, preferred
from werkbund.report.theme import DARK, LIGHT

LOOK_S = 0.5
"""Pause between two looks at the folders, for each page that is open."""

_ASK_SERVER_S = 3.0
_MOST_COMPARED = 8
_ASSETS = Path(__file__).parent / "assets"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

Clients = Callable[[], list[Mapping[str, Any]]]
"""Says which plants a server knows: name, state, last_seen, rows of each."""


@dataclass
class Inquiry:
    """Ask a real federation's server for its plants, now and then and not for every page.

    Parameters
    ----------
    ask
        Asks it; None where there is none.
    """

    ask: Clients | None = None
    _told: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _silent: str = ""
    _asked: float = -_ASK_SERVER_S
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def clients(self) -> tuple[dict[str, Mapping[str, Any]], str]:
        """Return what it says of each plant by name, and why it does not answer; empty where it does."""
        with self._lock:
            if self.ask is not None and time.monotonic() - self._asked >= _ASK_SERVER_S:
                try:
                    self._told, self._silent = {str(one["name"]): one for one in self.ask()}, ""
                except FederationError as error:
                    self._silent = str(error)
                self._asked = time.monotonic()
            return self._told, self._silent


def application(place: Path, door: Door | None = None, ask: Clients | None = None) -> Doorkeeper:
    """Return the dashboard of the runs below a folder, for a server of ASGI applications.

    Parameters
    ----------
    place
        Folder of runs, or of one run.
    door
        Who may come in; None is this machine alone.
    ask
        Asks a real federation's server for its plants; None where there is none.
    """
    runs, inquiry = RunList(place), Inquiry(ask)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_page(app, place)
    _add_data(app, runs, inquiry)

    @app.get("/api/stream")
    async def stream(request: Request, run: str = "", lang: str | None = None) -> StreamingResponse:
        phrases = Phrases(preferred(lang, request.headers.get("accept-language", "")))
        return StreamingResponse(_news(request, runs, inquiry, run, phrases), media_type="text/event-stream")

    return Doorkeeper(app, door or Door())


def _add_page(app: FastAPI, place: Path) -> None:
    """Add the page and what it is made of."""
    page = _template()

    @app.api_route("/", methods=["GET", "HEAD"])
    def index(request: Request, lang: str | None = None) -> HTMLResponse:
        phrases = Phrases(preferred(lang, request.headers.get("accept-language", "")))
        text = page.render(w=phrases, words=phrases.all(), version=__version__, place=str(place))
        return HTMLResponse(text, headers={"vary": "accept-language"})

    @app.api_route("/assets/colours.css", methods=["GET", "HEAD"])
    def colours() -> Response:
        return Response(_colours(), media_type="text/css")

    @app.api_route("/assets/{name}", methods=["GET", "HEAD"])
    def asset(name: str) -> Response:
        found = next((path for path in _ASSETS.iterdir() if path.name == name and path.suffix in _TYPES), None)
        if found is None:
            raise HTTPException(404)
        return Response(found.read_bytes(), media_type=_TYPES[found.suffix])


def _add_data(app: FastAPI, runs: RunList, inquiry: Inquiry) -> None:
    """Add what programs and the page read of runs."""

    @app.api_route("/api/runs", methods=["GET", "HEAD"])
    def listed() -> JSONResponse:
        return JSONResponse(plain({"runs": [summary(seen) for seen in runs.all()]}))

    @app.api_route("/api/runs/{key}", methods=["GET", "HEAD"])
    def one(key: str, lang: str | None = None) -> JSONResponse:
        told, _ = inquiry.clients()
        return JSONResponse(plain(state(_found(runs, key), Phrases(preferred(lang, "")), told)))

    @app.api_route("/api/compare", methods=["GET", "HEAD"])
    def compared(run: Annotated[list[str], Query(max_length=_MOST_COMPARED)]) -> JSONResponse:
        seen = [_found(runs, key) for key in run]
        told = [{"run": summary(each), "rounds": rounds(each), "figures": figures(each)} for each in seen]
        return JSONResponse(plain({"runs": told, "differences": differences(seen)}))


class _Look(NamedTuple):
    """Hold what there is to tell at one moment: all runs, the one that is shown, and what a server says of plants."""

    runs: list[Seen]
    shown: Seen | None
    clients: Mapping[str, Mapping[str, Any]]
    silent: str

    @property
    def version(self) -> tuple[object, ...]:
        """What differs when any of it is new."""
        return (*((seen.key, seen.version) for seen in self.runs), self.clients, self.silent)


async def _news(request: Request, runs: RunList, inquiry: Inquiry, key: str, words: Phrases) -> AsyncIterator[str]:
    """Yield an event with all that is known, then one whenever something is new, and a sign of life between."""
    sent: tuple[object, ...] = ()
    reached, quiet = (-1, 0), 0
    while not await request.is_disconnected():
        now = await asyncio.to_thread(_look, runs, inquiry, key)
        if now.version != sent:
            sent = now.version
            text, reached = await asyncio.to_thread(_told, now, words, reached)
            yield f"data: {text}\n\n"
        quiet = (quiet + 1) % 20
        if not quiet:
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_S)


def _look(runs: RunList, inquiry: Inquiry, key: str) -> _Look:
    everything = runs.all()
    shown = next((seen for seen in everything if seen.key == key), None) or (everything[0] if everything else None)
    return _Look(everything, shown, *inquiry.clients())


def _told(now: _Look, words: Phrases, reached: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """Return the text of an event, and the rounds of the run that the page then has: which run, and the last round.

    A run that goes on after a stop does rounds again: then all of them are sent.
    """
    told: dict[str, Any] = {"runs": [summary(seen) for seen in now.runs], "server": now.silent}
    if now.shown is None:
        return json.dumps(plain({**told, "clients": list(now.clients.values())})), (-1, 0)
    lines = now.shown.run.rounds
    last, number = (lines[-1].round if lines else 0), hash(now.shown.key)
    goes_on = reached[0] == number and 0 < reached[1] <= last
    told |= {"after": reached[1] if goes_on else 0}
    told |= state(now.shown, words, now.clients, told["after"])
    return json.dumps(plain(told)), (number, last)


def _found(runs: RunList, key: str) -> Seen:
    seen = runs.one(key)
    if seen is None:
        raise HTTPException(404)
    return seen


def _colours() -> str:
    """Return the colours of the report as style rules: light ones, and dark ones where the reader prefers these."""
    light, dark = (
        "".join(f"--{name}:{colour};" for name, colour in {**colours, "page": page}.items())
        for colours, page in ((LIGHT, "#f6f8f8"), (DARK, "#11181a"))
    )
    night = f"color-scheme:dark;{dark}"
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media (prefers-color-scheme: dark){{:root:not([data-theme=light]){{{night}}}}}\n"
        f":root[data-theme=dark]{{{night}}}\n"
    )


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_ASSETS)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(
        "index.html.j2"
    )


def server_of(app: Doorkeeper, door: Door) -> uvicorn.Server:
    """Return what answers requests once it runs, until the process is told to end."""
    settings = uvicorn.Config(
        app,
        host=door.host,
        port=door.port,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        ssl_certfile=door.certificate,
        ssl_keyfile=door.key,
    )
    return uvicorn.Server(settings)
