"""How long the dashboard takes with a large run: until the page is drawn, and until a new round is.

The folder is generated: rounds over a cohort of half of the plants, as a run writes them.

    python -m benchmarks.dashboard
    python -m benchmarks.dashboard --rounds 500 --plants 200 --updates 20 --json
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from werkbund.dashboard.app import application, server_of
from werkbund.dashboard.guard import Door

_SETTINGS = '[federation]\nname = "large"\nrounds = {}\n\n[strategy.selection]\nname = "uniform"\nfraction = 0.5\n'


def write_run(folder: Path, rounds: int, plants: int) -> None:
    """Write a run that goes on, with so many rounds done."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"plant-{number:03}" for number in range(plants)]
    (folder / "config.toml").write_text(_SETTINGS.format(2 * rounds), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps({"name": "large", "clients": names}), encoding="utf-8")
    (folder / ".lock").write_text(str(os.getpid()), encoding="ascii")
    for number in range(1, rounds + 1):
        add_round(folder, number, plants, rng)


def add_round(folder: Path, number: int, plants: int, rng: np.random.Generator) -> None:
    """Add a round's line as a run does, in one write."""
    cohort = sorted(rng.choice(plants, plants // 2, replace=False).tolist())
    precision = float(np.clip(0.8 * (1 - np.exp(-number / 80)) + rng.normal(0, 0.01), 0, 1))
    line: dict[str, Any] = {
        "round": number,
        "scored": number - 1,
        "cohort": cohort,
        "failures": [{"client": client, "reason": "no answer within 60 s"} for client in cohort[: number % 3]],
        "loss": float(0.1 + np.exp(-number / 60)),
        "update_norm": 0.1,
        "bytes_down": 4000 * len(cohort),
        "bytes_up": 4000 * len(cohort),
        "seconds": 1.5,
        "reasons": ["drawn at random"] * len(cohort),
        "metrics": {"validation": {"average_precision": precision, "cost": float(150 - 100 * precision)}},
    }
    with (folder / "rounds.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def measured(rounds: int, plants: int, updates: int) -> dict[str, float]:
    """Return medians: ms until anything is painted, until all is drawn, and of drawing one more round.

    `first_paint_ms` and `complete_ms` count from the start of the navigation, with a server that has read nothing yet.
    `update_ms` is the script's and the layout's time in the page; `shown_ms` is from the folder's line to the picture.
    """
    with tempfile.TemporaryDirectory() as place, socket.socket() as listening, sync_playwright() as playwright:
        folder = Path(place) / "large"
        write_run(folder, rounds, plants)
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        port = listening.getsockname()[1]
        server = server_of(application(Path(place)), Door(port=port))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            return _watched(browser.new_page(), f"http://127.0.0.1:{port}/", folder, plants, (rounds, updates))
        finally:
            browser.close()
            server.should_exit = True
            thread.join(20)


def _watched(page: Page, address: str, folder: Path, plants: int, counts: tuple[int, int]) -> dict[str, float]:
    rounds, updates = counts
    page.goto(address)
    page.wait_for_selector("html[data-drawn-ms]", state="attached")
    complete = page.evaluate("performance.now()")
    painted = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    first_draw = page.evaluate(_DRAWN)
    rng, drawn, shown = np.random.default_rng(1), [], []
    for number in range(rounds + 1, rounds + updates + 1):
        began = time.perf_counter()
        add_round(folder, number, plants, rng)
        page.get_by_text(f"Round {number} of ").first.wait_for()
        shown.append(1000 * (time.perf_counter() - began))
        drawn.append(page.evaluate(_DRAWN))
    return {
        "first_paint_ms": painted,
        "complete_ms": complete,
        "first_draw_ms": first_draw,
        "update_ms": statistics.median(drawn),
        "slowest_update_ms": max(drawn),
        "shown_ms": statistics.median(shown),
    }


_DRAWN = "Number(document.documentElement.dataset.drawnMs)"


def main() -> None:
    """Measure, and print figures in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--plants", type=int, default=200)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    figures = measured(asked.rounds, asked.plants, asked.updates)
    if asked.json:
        print(json.dumps(figures))
        return
    print(f"{asked.rounds} rounds, {asked.plants} plants")
    for name, value in figures.items():
        print(f"{name:20} {value:8.0f}")


if __name__ == "__main__":
    main()
