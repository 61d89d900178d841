from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from werkbund.core.errors import ClientError, ConfigError
from werkbund.dashboard.app import Inquiry, application
from werkbund.dashboard.guard import HEADERS, Door

Sample = Callable[..., Path]
TOKEN = "a-token-that-is-long-enough"  # noqa: S105 - a test's own
HOSTILE = '<img src=x onerror="alert(1)">'


@dataclass
class Reader:
    """Ask an application in process."""

    app: Any

    def request(self, method: str, address: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8350") as client:
                return await client.request(method, address, **options)

        return asyncio.run(ask())

    def get(self, address: str, **options: Any) -> httpx.Response:
        return self.request("GET", address, **options)

    def head(self, address: str) -> httpx.Response:
        return self.request("HEAD", address)


def _client(place: Path, door: Door | None = None) -> Reader:
    return Reader(application(place, door))


def _secured(tmp_path: Path) -> Door:
    return Door("10.0.0.7", 8350, TOKEN, tmp_path / "c.pem", tmp_path / "k.pem", ("dashboard.example",))


def test_every_address_answers_and_asks_nobody_else(finished: Path) -> None:
    client = _client(finished)
    page = client.get("/")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    assert all(link.startswith(("/", "?", "#")) for link in links)
    for link in (link for link in links if link.startswith("/")):
        assert client.get(link).status_code == 200, link
    key = client.get("/api/runs").json()["runs"][0]["key"]
    assert client.get(f"/api/runs/{key}").json()["run"]["round"] == 120
    for address in ("/", "/api/runs", f"/api/runs/{key}", "/api/nothing", f"/api/compare?run={key}&run={key}"):
        answer = client.get(address)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS, address


def test_the_modules_of_the_page_are_all_assets(finished: Path) -> None:
    client = _client(finished)
    waiting, known = {"app.js"}, set[str]()
    while waiting:
        name = waiting.pop()
        known.add(name)
        answer = client.get(f"/assets/{name}")
        assert answer.headers["content-type"].startswith("text/javascript"), name
        waiting |= set(re.findall(r'from "\./(\w+\.js)"', answer.text)) - known
    assert known == {"app.js", "run.js", "compare.js", "charts.js", "dom.js"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_only_reading_is_answered(finished: Path, method: str) -> None:
    answer = _client(finished).request(method, "/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_head_is_get_without_its_body(finished: Path) -> None:
    client = _client(finished)
    for address in ("/", "/api/runs", "/assets/app.js"):
        assert client.head(address).status_code == 200
        assert client.head(address).content == b""


@pytest.mark.parametrize(
    "address",
    [
        "/assets/../app.py",
        "/assets/..%2fapp.py",
        "/assets/index.html.j2",
        "/api/runs/..",
        "/api/runs/..%2f..%2fetc%2fpasswd",
        "/api/runs/%2e%2e",
        "/api/compare?run=..%2f..%2fetc",
    ],
)
def test_no_address_is_a_path(finished: Path, address: str) -> None:
    assert _client(finished).get(address).status_code == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8350", 200),
        ("localhost:8350", 200),
        ("[::1]:8350", 200),
        ("evil.example:8350", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
def test_a_name_that_is_not_this_machines_is_refused(finished: Path, host: str, status: int) -> None:
    assert _client(finished).get("/", headers={"host": host}).status_code == status


def test_who_does_not_know_the_token_reads_nothing(finished: Path, tmp_path: Path) -> None:
    client = _client(finished, _secured(tmp_path))
    for address in ("/", "/api/runs", "/api/stream", "/assets/app.js", "/?token=wrong", "/?token="):
        assert client.get(address).status_code == 401, address
    for headers in (
        {"authorization": "Bearer wrong"},
        {"cookie": "werkbund_dashboard=x"},
        {"cookie": "=;\xe9".encode()},
    ):
        assert client.get("/", headers=headers).status_code == 401, headers


def test_the_token_moves_from_the_address_into_a_cookie(finished: Path, tmp_path: Path) -> None:
    client = _client(finished, _secured(tmp_path))
    answer = client.get(f"/?lang=de&token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?lang=de")
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Secure"))
    kept = {"cookie": cookie.partition(";")[0]}
    assert client.get("/", headers=kept).status_code == 200
    assert client.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_token_sends_nobody_to_another_machine(finished: Path, tmp_path: Path) -> None:
    answer = _client(finished, _secured(tmp_path)).get(f"//evil.example/?token={TOKEN}")
    assert not answer.headers.get("location", "/").startswith("//")


@pytest.mark.parametrize("given", [{"host": "192.168.0.1"}, {"host": "10.0.0.7", "token": TOKEN}, {"host": "::"}])
def test_listening_elsewhere_needs_token_and_certificate(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"--host must be a loopback address.*add all three"):
        Door(**given)  # type: ignore[arg-type]


def test_a_short_token_and_half_a_certificate_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 20 characters, got 5"):
        Door(token=TOKEN[:5])
    with pytest.raises(ConfigError, match="must be given together"):
        Door(certificate=tmp_path / "c.pem")


def test_the_page_is_in_the_readers_language(finished: Path) -> None:
    client = _client(finished)
    assert "Wer wann trainiert hat" in client.get("/?lang=de").text
    assert "Wer wann trainiert hat" in client.get("/", headers={"accept-language": "de-AT,en;q=0.5"}).text
    assert "Who trained when" in client.get("/?lang=en", headers={"accept-language": "de"}).text


def test_a_hostile_place_is_no_markup(tmp_path: Path) -> None:
    assert HOSTILE not in _client(tmp_path / HOSTILE).get("/").text


def test_runs_are_compared_by_keys_figures_and_curves(sample: Sample, tmp_path: Path) -> None:
    for name in ("one", "two"):
        sample(tmp_path / name, rounds=3)
    config = tmp_path / "two" / "config.toml"
    config.write_text(config.read_text().replace("seed = 7", "seed = 8"))
    client = _client(tmp_path)
    keys = [run["key"] for run in client.get("/api/runs").json()["runs"]]
    told = client.get("/api/compare", params={"run": keys}).json()
    assert [line["key"] for line in told["differences"]] == ["federation.seed"]
    assert sorted(told["differences"][0]["values"]) == ["7", "8"]
    figure = told["runs"][0]["figures"][0]
    assert figure["low"] < figure["mean"] < figure["high"]
    assert client.get("/api/compare", params={"run": keys[:1] * 9}).status_code == 422


def test_a_server_that_does_not_answer_is_told_and_asked_again() -> None:
    answers: list[list[Mapping[str, Any]] | None] = [[{"name": "a", "state": "online"}], None]

    def ask() -> list[Mapping[str, Any]]:
        answer = answers.pop(0)
        if answer is None:
            raise ClientError("SuperLink must answer, got silence; start it")
        return answer

    server = Inquiry(ask)
    assert server.clients() == ({"a": {"name": "a", "state": "online"}}, "")
    assert server.clients()[1] == ""
    server._asked -= 10
    clients, silent = server.clients()
    assert (list(clients), silent) == (["a"], "SuperLink must answer, got silence; start it")


def test_the_stream_tells_all_and_then_what_is_new(sample: Sample, tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=3, finished=False)
    told = asyncio.run(_streamed(application(tmp_path), folder))
    assert [line["round"] for line in told[0]["rounds"]] == [1, 2, 3]
    assert (told[1]["after"], [line["round"] for line in told[1]["rounds"]]) == (3, [4])


async def _streamed(app: Any, folder: Path) -> list[dict[str, Any]]:
    """Return the first two events of a page, between which a round ends."""
    told: list[dict[str, Any]] = []
    gone = asyncio.Event()

    async def receive() -> Mapping[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        body = message.get("body", b"").decode()
        if body.startswith("data: "):
            told.append(json.loads(body.removeprefix("data: ")))
            with (folder / "rounds.jsonl").open("a", encoding="utf-8") as file:
                file.write('{"round": 4, "cohort": [0], "failures": []}\n')
        if len(told) == 2:
            gone.set()

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": "/api/stream", "query_string": b"", "headers": headers}
    async with asyncio.timeout(10):
        await app({**scope, "root_path": "", "scheme": "http", "http_version": "1.1"}, receive, send)
    return told
