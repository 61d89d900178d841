"""A selector of one's own comes from a file or a module, and works like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from werkbund.config import check_config
from werkbund.core.errors import ConfigError
from werkbund.federation import run
from werkbund.selection import build_selector, parameters_of, selector_of
from werkbund.selection.contract import CohortSize, View

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_selector.py"
PLACE = f"{EXAMPLE}:Thrifty"


def test_the_example_chooses_half_by_rows_per_joule() -> None:
    selector = build_selector(PLACE, count=4)
    facts = {"rows": np.full(8, 100.0), "joules": np.array([8.0, 7, 6, 5, 4, 3, 2, 1])}
    view = View(1, np.arange(8), facts)
    choice = selector.choose(view, (), np.random.default_rng(0))
    assert len(choice.cohort) == 4
    assert {6, 7} <= set(choice.cohort.tolist())
    assert choice.probabilities.sum() == pytest.approx(2 + 2 * 2 / 6)
    assert selector.choose(view, (), np.random.default_rng(0)).cohort.tolist() == choice.cohort.tolist()


def test_the_example_runs_in_a_federation(tmp_path: Path) -> None:
    config = check_config(
        {
            "federation": {"rounds": 3},
            "data": {"source": "generator", "rows": 600},
            "clients": {"count": 6},
            "strategy": {"selection": {"name": PLACE, "count": 4}},
            "world": {"preset": "mobile-machines"},
        }
    )
    done = run(config, out=tmp_path / "run", compare=False)
    assert done.summary["rounds"] == 3
    assert '"thrifty"' in (tmp_path / "run" / "rounds.jsonl").read_text()


def test_a_module_that_is_installed_is_named_with_dots() -> None:
    assert selector_of("werkbund.selection.methods.simple:Uniform") is selector_of("uniform")
    assert build_selector("werkbund.selection.methods.simple:Uniform", count=2) == build_selector("uniform", count=2)
    assert parameters_of(PLACE) == {}
    assert selector_of(PLACE) is selector_of(PLACE)
    assert build_selector(PLACE, 0.5) == selector_of(PLACE)(CohortSize(0.5))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "Mine", "there is no file"),
        ("raise RuntimeError('no licence')", "Mine", "RuntimeError: no licence"),
        ("Other = 1", "Mine", "does not import: AttributeError"),
        ("Mine = 1", "Mine", "must be a frozen dataclass"),
        ("import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Mine: pass", "Mine", "must have declaration"),
    ],
)
def test_what_is_no_selector_is_refused_with_the_reason(
    tmp_path: Path, content: str | None, name: str, message: str
) -> None:
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        build_selector(f"{file}:{name}")


def test_a_name_that_is_nearly_right_is_hinted_at() -> None:
    with pytest.raises(ConfigError, match="did you mean round-robin"):
        build_selector("roundrobin")
