from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.deployed import deploy
from werkbund.cli import app
from werkbund.config.reading import to_toml
from werkbund.engine.kinds import UPLOAD
from werkbund.federation.asking import is_asked, network_asks
from werkbund.plant.checking import check_plant
from werkbund.plant.leaving import ANY, KINDS, asked_anyway, signals_asked
from werkbund.plant.settings import SIGNAL_NAMES
from werkbund.selection import SELECTORS, build_selector
from werkbund.selection.questions import QUESTIONS

ALWAYS = {"rows", "loss", "counts", "vocabulary", "delivery"}


def _kit(folder: Path, selection: dict[str, Any] | None, **policy: Any) -> Path:
    deployment = deploy(folder / "it", {"plant-1": policy}, strategy={"selection": selection or {}})
    kit = deployment.kits["plant-1"]
    if selection is not None:
        (kit / "federation.toml").write_text(to_toml(deployment.config), encoding="utf-8")
    return kit


def _asked(kit: Path) -> dict[str, set[str]]:
    """Return the fields that the run asks for, by kind, of those that belong to the choice of clients."""
    found: dict[str, set[str]] = {}
    questions = [kind.name for kind in (*QUESTIONS, UPLOAD)]
    for one in check_plant(kit).to_json()["leaving"]:
        by_choice = one["kind"] in questions or (one["kind"], one["half"]) == (
            "train",
            "clear",
        )
        if by_choice and one["asked"] and not one["field"].startswith("*."):
            found.setdefault(one["kind"], set()).add(one["field"])
    return found


HELD = {"update", "weight", "loss", "rows"}


@pytest.mark.parametrize(
    ("selection", "asked"),
    [
        ({"name": "all"}, {}),
        ({"name": "pow-d"}, {"loss": {"loss"}}),
        ({"name": "ucb-cs"}, {"train": {"loss", "loss_std"}}),
        ({"name": "ocs"}, {"train": {"norm"}, "hold": {"norm"}, "upload": HELD}),
        ({"name": "k-fed"}, {"centroids": {"centroids"}}),
        ({"name": "k-fed", "options": {"candidates": 3}}, {"centroids": {"centroids"}, "loss": {"loss"}}),
        ({"name": "fedcs"}, {}),
    ],
)
def test_a_check_tells_what_the_run_agreed_on_asks_for(
    selection: dict[str, Any], asked: dict[str, set[str]], tmp_path: Path
) -> None:
    assert _asked(_kit(tmp_path, selection, signals=list(SIGNAL_NAMES))) == asked


def test_what_the_run_does_not_ask_for_may_leave_all_the_same_and_is_shown(tmp_path: Path) -> None:
    kit = _kit(tmp_path, {"name": "lag"}, signals=list(SIGNAL_NAMES))
    found = check_plant(kit).to_json()
    assert {(one["kind"], one["half"], one["field"]) for one in found["leaving"]} == {
        (kind.name, one.half, one.name) for kind in (ANY, *KINDS) for one in kind.answer
    }
    (centroids,) = [one for one in found["leaving"] if one["field"] == "centroids"]
    assert "chooses clients by lag" in centroids["when"]
    assert found["selection"]["reveals"] == build_selector("lag").declaration.reveals
    shown = CliRunner().invoke(app, ["client", "check", str(kit)])
    assert shown.exit_code == 0
    assert "only if a run asks for it" in shown.output
    assert "Clients are chosen by lag, from which the server learns: how far each update is" in shown.output


def test_without_the_federations_file_nothing_is_agreed(tmp_path: Path) -> None:
    kit = _kit(tmp_path, None)
    (kit / "federation.toml").unlink()
    assert "has agreed to no columns" in check_plant(kit).errors[0]


def test_how_a_method_of_the_servers_own_chooses_is_not_known_and_anything_may_be_asked(tmp_path: Path) -> None:
    kit = _kit(tmp_path, {"name": "mine.py:Mine"})
    found = check_plant(kit).to_json()
    assert found["selection"] is None
    assert all(one["asked"] for one in found["leaving"])
    assert {"hold", "upload", "loss"} <= {one["kind"] for one in found["leaving"]}
    assert "centroids" not in {one["kind"] for one in found["leaving"]}, "unless the plant allows them"
    assert any("clusters" in line for line in found["withheld"])
    assert "is not known here" in CliRunner().invoke(app, ["client", "check", str(kit)]).output


@pytest.mark.parametrize("name", SELECTORS)
def test_what_a_selector_needs_of_a_client_is_declared_to_plants_or_measured(name: str) -> None:
    declared = build_selector(name).declaration
    assert set(declared.asks) <= set(QUESTIONS) <= set(KINDS)
    measured = {
        "seconds",
        "joules",
        "battery",
        "score",
        "update",
    }  # by the server, in a world, or of what is sent anyway
    told = {
        one.name
        for kind in KINDS
        for one in kind.answer
        if one.half == "clear" and is_asked(kind, one, network_asks(declared))
    }
    assert declared.needs - measured <= told
    assert signals_asked(KINDS, asked_anyway(network_asks(declared))) >= ALWAYS


def test_a_method_of_the_servers_own_is_not_loaded_at_a_plant(tmp_path: Path) -> None:
    kit = _kit(tmp_path, {"name": "all"})
    (kit / "mine.py").write_text("raise SystemExit('it ran')")
    file = kit / "federation.toml"
    file.write_text(file.read_text().replace('name = "all"', f'name = "{kit / "mine.py"}:Mine"'))
    found = check_plant(kit).to_json()
    assert (found["errors"], found["selection"]) == ([], None)
    assert all(one["asked"] for one in found["leaving"])


@pytest.mark.parametrize("value", [1e300, 1e30])
def test_a_far_reading_is_told_with_the_lines_even_where_nothing_can_be_added_up(value: float, tmp_path: Path) -> None:
    kit = deploy(tmp_path / "kits").kits["plant-1"]
    rows = pl.read_csv(kit / "rows.csv")
    wear = rows["Tool wear [min]"].cast(pl.Float64).to_numpy(writable=True)
    wear[5] = value
    rows.with_columns(pl.Series("Tool wear [min]", wear)).write_csv(kit / "rows.csv")
    told = check_plant(kit).to_json()
    said = [*told["errors"], *(finding["lines"] for finding in told["findings"])]
    assert any(f'"Tool wear [min]" = {{ missing = [{value!r}] }}' in text for text in said)
