from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from plotly.offline import get_plotlyjs

from werkbund.core import DataError
from werkbund.report.folder import read_run
from werkbund.report.run_page import render, sections, tiles, write_report
from werkbund.report.theme import LIGHT
from werkbund.report.verdict import judge

MOST_BYTES = 1_500_000
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Collect what a browser would load, the identifiers, the JSON, and tags left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.specs: list[str] = []
        self.open: list[str] = []
        self._json = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href") and not (value or "").startswith("#")
        ]
        self.ids += [given["id"] or ""] if "id" in given else []
        self._json = tag == "script" and given.get("type") == "application/json"
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._json:
            self.specs.append(data)
            self._json = False


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    return render(read_run(finished))


def test_the_report_lies_in_the_runs_folder(sample: Callable[..., Path], tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=2)
    path = write_report(folder)
    assert path == folder / "report.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not list(folder.glob("*.part"))


def test_the_same_folder_gives_the_same_bytes(finished: Path, page: str) -> None:
    assert render(read_run(finished)) == page


def test_the_page_loads_nothing(page: str) -> None:
    assert Page(page).loads == []
    assert "default-src 'none'" in page
    assert "connect-src" not in page


def test_the_page_is_small_and_holds_the_library_once(page: str) -> None:
    assert len(page.encode()) < MOST_BYTES
    packed = re.findall(r'<script type="application/gzip" id="plotly">([^<]+)</script>', page)
    assert len(packed) == 1
    library = gzip.decompress(b64decode(packed[0])).decode()
    version = re.compile(r"plotly\.js (?:\(cartesian - minified\) )?v([\d.]+)")
    ours, whole = (version.findall(text[:500])[0] for text in (library, get_plotlyjs()))
    assert ours == whole, "figures are made for one version of plotly.js and drawn by another"
    assert "MIT" in library[:500]


def test_tags_are_closed_and_identifiers_unique(page: str) -> None:
    parsed = Page(page)
    assert parsed.open == []
    assert len(parsed.ids) == len(set(parsed.ids))


def test_every_panel_has_its_plot(finished: Path, page: str) -> None:
    panels = [panel for section in sections(read_run(finished)) for panel in section.panels]
    assert len(panels) == 19
    specs = [json.loads(spec) for spec in Page(page).specs]
    assert [spec["layout"]["height"] for spec in specs if "layout" in spec] == [p.figure.layout.height for p in panels]


def test_plots_use_no_colour_that_the_dark_page_cannot_swap(page: str) -> None:
    plots = [spec for spec in Page(page).specs if '"layout"' in spec]
    assert set(re.findall(r"#[0-9a-fA-F]{3,8}\b", "".join(plots))) <= set(LIGHT.values())


def test_the_verdict_stands_at_the_top(finished: Path, page: str) -> None:
    assert f'<h1 class="pays">{escape(judge(read_run(finished)).sentence)}</h1>' in page


def test_the_tiles_agree_with_the_metrics(finished: Path) -> None:
    run = read_run(finished)
    scores = run.scores("federated")
    by_label = {tile.label: tile for tile in tiles(run)}
    caught, _, failures = by_label["Failures found"].value.split(" ")
    assert int(failures) == scores["positives"]
    assert int(caught) == round(scores["recall"] * scores["positives"])
    alarms = int(by_label["Alarms that are right"].hint.split(" ")[0].replace(",", ""))
    assert int(caught) / alarms == pytest.approx(scores["precision"])


def test_text_from_the_run_cannot_become_markup(sample: Callable[..., Path], tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    folder = sample(tmp_path / "run", rounds=2, names=(evil, "B", "C", "D", "E", "F", "G"))
    text = render(read_run(folder))
    assert evil not in text
    assert Page(text).open == []


EVIL = [
    "</script><img src=x onerror=alert(1)>",
    '"><img src=x>',
    "'><img src=x>",
    "<!--<img src=x>",
    "{{ 7 * 7 }}<img>",
]


def _with_all_texts(value: Any, text: str) -> Any:
    """Return what JSON holds with another text wherever one stands."""
    if isinstance(value, dict):
        return {key: _with_all_texts(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_all_texts(one, text) for one in value]
    return text if isinstance(value, str) else value


@pytest.mark.parametrize("evil", EVIL)
def test_no_text_of_a_run_wherever_it_stands_becomes_markup(
    evil: str, sample: Callable[..., Path], tmp_path: Path
) -> None:
    """Names, origins, notes, findings, levels: each text of each file."""
    folder = sample(tmp_path / "run", rounds=2)
    files = sorted(folder.rglob("*.json"))
    for file in files:
        file.write_text(json.dumps(_with_all_texts(json.loads(file.read_text()), evil)))
    page = render(read_run(folder))
    assert len(files) >= 3
    assert "<img" not in page
    assert Page(page).open == []


@pytest.mark.parametrize(
    "options",
    [
        {"finished": False},
        {"strength": {"federated": 7.0}},
        {"seeds": 3},
        {"strength": {"federated": 3.0, "local_mean": 5.0}},
        {"names": tuple(f"Site {k}" for k in range(70))},
    ],
    ids=["unfinished", "no baselines", "seeds", "federation loses", "many clients"],
)
def test_every_kind_of_run_makes_a_sound_page(
    sample: Callable[..., Path], tmp_path: Path, options: dict[str, object]
) -> None:
    text = render(read_run(sample(tmp_path / "run", rounds=3, **options)))
    parsed = Page(text)
    assert parsed.open == []
    assert parsed.loads == []
    for word in ("nan", "None", "NaN"):
        body = re.sub(r"<script.*?</script>|<style.*?</style>", "", text, flags=re.DOTALL)
        assert not re.search(rf"\b{word}\b", body)


def test_the_barest_run_still_makes_a_page(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    text = render(read_run(tmp_path))
    assert "has not finished a round yet" in text
    assert text.count('class="absent"') == len(sections(read_run(tmp_path))) + 2


def test_seeds_alone_make_a_page(sample: Callable[..., Path], tmp_path: Path) -> None:
    folder = sample(tmp_path / "run", rounds=2, seeds=3)
    for path in folder.iterdir():
        if path.name != "comparison.json":
            path.unlink()
    assert "mean of 3 seeds" in render(read_run(folder))


def test_no_folder_no_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="name a folder under runs/"):
        write_report(tmp_path / "nowhere")


def test_generated_rows_are_called_so_in_the_first_line(sample: Callable[..., Path], tmp_path: Path) -> None:
    run = sample(tmp_path / "run")
    assert "generated rows" not in _first_line(run)
    about = json.loads((run / "run.json").read_text())
    about["data"]["generated"] = {"rows": 100, "plants": 3, "seed": 0}
    (run / "run.json").write_text(json.dumps(about))
    assert "federation report on generated rows" in _first_line(run)


def _first_line(folder: Path) -> str:
    """Return what stands above the verdict on a run's page."""
    run = read_run(folder)
    text = re.sub(r"(?s)<(style|script).*?</\1>", "", render(run))
    return text[: text.index("<h1")] if "<h1" in text else text[:2000]
