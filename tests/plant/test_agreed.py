"""A server may change rounds and epochs, but neither columns nor the code that runs at a plant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from werkbund.config import Config, check_config, to_toml
from werkbund.federation.briefing import for_clients
from werkbund.plant.agreed import RefusedError, check_agreed

COLUMNS = {"temperature": {"kind": "number", "unit": "K"}, "speed": {"kind": "number", "unit": "rpm"}}
AGREED: dict[str, Any] = {"data": {"label": "failed", "columns": COLUMNS}}


def _kit(folder: Path, values: dict[str, Any]) -> Path:
    (folder / "federation.toml").write_text(to_toml(check_config(values)), encoding="utf-8")
    return folder


def _run(**sections: dict[str, Any]) -> Config:
    return for_clients(check_config({**AGREED, **sections}))


def test_rounds_epochs_and_shipped_networks_may_change(tmp_path: Path) -> None:
    kit = _kit(tmp_path, AGREED)
    check_agreed(kit, _run(federation={"rounds": 7, "seed": 3}, training={"epochs": 4}, model={"kind": "logistic"}))


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"data": {"label": "other", "columns": COLUMNS}}, r"data\.label"),
        ({"data": {"label": "failed", "columns": {**COLUMNS, "wage": {"kind": "number"}}}}, r"data\.columns"),
        ({"features": {"derived": {"one": "temperature - 300"}}}, "features"),
    ],
)
def test_other_columns_and_features_are_refused(tmp_path: Path, sections: dict[str, Any], named: str) -> None:
    with pytest.raises(RefusedError, match=named):
        check_agreed(_kit(tmp_path, AGREED), _run(**sections))


def test_code_that_the_plant_did_not_name_is_not_run(tmp_path: Path) -> None:
    own = {"kind": "plant.networks:Small", "options": {"width": 3}}
    with pytest.raises(RefusedError, match=r"plant\.networks:Small"):
        check_agreed(_kit(tmp_path, AGREED), _run(model=own))
    check_agreed(_kit(tmp_path, {**AGREED, "model": own}), _run(model=own))
    with pytest.raises(RefusedError, match=r"model\.options"):
        check_agreed(_kit(tmp_path, {**AGREED, "model": own}), _run(model={**own, "options": {"width": 4}}))


def test_without_a_file_any_columns_come_but_no_code(tmp_path: Path) -> None:
    check_agreed(tmp_path, _run())
    with pytest.raises(RefusedError, match="code that this plant has not agreed to run"):
        check_agreed(tmp_path, _run(model={"kind": "torch.hub:load", "options": {"source": "github"}}))


@pytest.mark.parametrize("section", ["selection", "aggregation"])
def test_a_method_of_the_servers_own_is_not_imported_at_a_plant(section: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('it ran')", encoding="utf-8")
    asked = check_config({**AGREED, "strategy": {section: {"name": f"{file}:Mine"}}})
    for kit in (tmp_path, _kit(tmp_path, AGREED)):
        with pytest.raises(RefusedError, match=rf"strategy\.{section}\.name .* code that no plant runs"):
            check_agreed(kit, asked)
    check_agreed(tmp_path, for_clients(asked))
