"""What a start imports: a command waits for what it needs, and a plant's agent holds none of what trains."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "scipy", "numba", "sklearn", "onnx", "onnxruntime", "plotly", "pint"}
COMMANDS = "from werkbund.cli import app; app({arguments}, standalone_mode=False)"


def _imported(code: str) -> set[str]:
    """Return the modules that lie in memory after some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--help"]])
def test_the_command_line_starts_without_numbers(arguments: list[str]) -> None:
    assert not _imported(COMMANDS.format(arguments=arguments)) & (HEAVY | {"numpy", "polars", "pydantic", "flwr"})


def test_the_list_of_methods_needs_no_tables_and_no_networks() -> None:
    assert not _imported(COMMANDS.format(arguments=["strategies"])) & (HEAVY | {"polars", "flwr"})


def test_a_plants_agent_holds_nothing_that_trains() -> None:
    modules = _imported("import werkbund.flower.plant.host")
    assert "werkbund.flower.plant.agent" in modules
    assert not modules & HEAVY


def test_a_name_that_a_package_does_not_have_is_named() -> None:
    import werkbund.core

    with pytest.raises(AttributeError, match=r"module 'werkbund\.core' has no attribute 'Weight'"):
        getattr(werkbund.core, "Weight")  # noqa: B009 - the name is not there
    assert set(werkbund.core.__all__) <= set(dir(werkbund.core))
