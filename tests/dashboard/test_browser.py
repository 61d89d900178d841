"""The page in Debian's Chromium, while a real federation runs."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

import werkbund
from tests.report.conftest import write_sample
from werkbund.dashboard.app import application, server_of
from werkbund.dashboard.guard import Door
from werkbund.evaluation.watch import RoundNews

HOSTILE = '<img src=x onerror="document.title=1">'
WITHIN_S = 5.0
"""A plant that fails shows as failed so long after the folder says so."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium; without it the test is skipped, or fails where CI is set."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("chromium must be installed where CI is set; see .ci/run")
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def _served(place: Path) -> Iterator[str]:
    """Serve the runs of a place from a thread, at a free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        port = listening.getsockname()[1]
        server = server_of(application(place), Door(port=port))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.should_exit = True
            thread.join(20)


class Gate:
    """Let a federation go on a round at a time."""

    def __init__(self) -> None:
        self._may = threading.Semaphore(0)
        self.seen: list[RoundNews] = []

    def stage(self, what: str) -> None:
        """Hear of a stage."""

    def round(self, news: RoundNews) -> None:
        """Wait until the next round may begin."""
        self.seen.append(news)
        self._may.acquire(timeout=60)

    def open(self, rounds: int) -> None:
        """Let so many rounds more begin."""
        for _ in range(rounds):
            self._may.release()


def _federation(out: Path, gate: Gate) -> threading.Thread:
    """Begin a federation of four plants, one of which sends what is no update from round 4 on."""
    settings = {
        "federation": {"rounds": 8, "name": "line-4", "quorum": 0.5},
        "data": {"source": "generator", "rows": 900, "plants": 4},
        "model": {"kind": "logistic"},
        "attack": {"kind": "gaussian", "clients": ["plant-2"], "from_round": 4, "options": {"scale": 1e30}},
    }
    config = werkbund.check_config(settings)
    thread = threading.Thread(
        target=werkbund.run, args=(config,), kwargs={"out": out, "compare": False, "watcher": gate}
    )
    thread.start()
    return thread


def _page(browser: Browser, faults: list[str], width: int = 1280, scheme: str = "light") -> Page:
    page = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            faults.append(message.text)

    page.on("console", heard)
    page.on("pageerror", lambda error: faults.append(str(error)))
    return page


def _serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


def test_a_page_follows_a_real_federation(browser: Browser, tmp_path: Path) -> None:
    faults: list[str] = []
    gate, out = Gate(), tmp_path / "runs" / "line-4"
    with _served(tmp_path / "runs") as address:
        page = _page(browser, faults)
        page.goto(address)
        page.wait_for_selector("#empty:not([hidden])")
        running = _federation(out, gate)
        gate.open(2)
        page.wait_for_selector("#plants tbody tr:nth-child(4)", timeout=60_000)
        page.get_by_text("Round 3 of 8").first.wait_for(timeout=30_000)
        assert page.locator("#name").inner_text() == "line-4"
        before = page.locator("#curves polyline").first.get_attribute("points")
        assert page.locator("#plants [data-kind=failed]").count() == 0
        gate.open(1)
        while '"reason"' not in (out / "rounds.jsonl").read_text():
            time.sleep(0.02)
        began = time.monotonic()
        page.wait_for_selector("#plants td[data-kind=failed]", timeout=1000 * WITHIN_S)
        assert time.monotonic() - began < WITHIN_S
        assert page.locator("#plants tr:has([data-kind=failed]) th").inner_text() == "plant-2"
        assert page.locator("#curves polyline").first.get_attribute("points") != before
        assert page.locator("#events [data-level=error]").first.inner_text().startswith("Round 4")
        assert _serious(page) == []
        gate.open(10)
        page.wait_for_selector("#state[data-state=finished]", timeout=60_000)
        running.join(60)
        _keyboard(page)
        _other_looks(browser, address, faults)
        _hostile_names(page, tmp_path / "runs" / "odd")
    assert faults == []


def _keyboard(page: Page) -> None:
    """Read a chart by arrow keys, and open its table."""
    page.locator("#curves .plot").first.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#curves output").first.inner_text().startswith("Round 7: ")
    page.locator("summary", has_text="Numbers by round").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#rounds-table tbody tr:nth-child(9)")


def _hostile_names(page: Page, folder: Path) -> None:
    """Show a run whose plants' names are markup: they stay text."""
    write_sample(folder, rounds=3, names=(HOSTILE, *(f"{number}" for number in range(9))))
    page.locator("#runs a", has_text="odd").click()
    page.wait_for_selector("#label:has-text('odd')")
    assert page.locator("#plants tbody th").first.inner_text() == HOSTILE
    assert page.locator("img").count() == 0
    assert page.title() != "1"


def _other_looks(browser: Browser, address: str, faults: list[str]) -> None:
    """Look at the page on a phone, in the dark and in German: it fits, and hinders nobody."""
    page = _page(browser, faults, width=390, scheme="dark")
    page.goto(f"{address}?lang=de")
    page.get_by_text("Wer wann trainiert hat").first.wait_for()
    page.wait_for_selector("#state[data-state=finished]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 24, 26)"
    assert _serious(page) == []
    page.locator("#theme").select_option("light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 248, 248)"
    page.close()
