"""The edge that all commands share: where text goes, how errors end, and the arguments that several take."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from werkbund.cli.signals import STOPPED
from werkbund.core.errors import FederationError

if TYPE_CHECKING:
    from werkbund.config import Config

FAULT = 2
"""Exit status of a fault that the user can mend."""

ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG]", help="federation.toml; without one, the built-in federation.")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Table to learn from, in place of data.path.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key, such as federation.rounds=50.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the run, new or empty.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Seed of the whole run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout and nothing else there.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")]


def output() -> Console:
    """Return the console for results."""
    return Console()


def progress() -> Console:
    """Return the console for progress, on stderr: stdout belongs to results."""
    return Console(stderr=True)


def print_line(text: str) -> None:
    """Print a result as it is: not wrapped, and with no part of it coloured."""
    output().print(text, soft_wrap=True, highlight=False)


def print_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout."""
    from werkbund.federation.folder import plain

    sys.stdout.write(json.dumps(plain(value)) + "\n")


@contextmanager
def readable_errors() -> Iterator[None]:
    """End with one readable message where something can be mended, and never with a traceback for that."""
    console = progress()
    try:
        yield
    except FederationError as error:
        console.print(Text.assemble(("Error: ", "bold red"), str(error)), soft_wrap=True)
        raise typer.Exit(FAULT) from error
    except KeyboardInterrupt as error:
        console.print("Stopped. `werkbund resume` goes on with the run where it was.")
        raise typer.Exit(STOPPED) from error


def configured(config: Path | None, data: Path | None, settings: list[str] | None, seed: int | None = None) -> Config:
    """Return the configuration that the arguments describe.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key or value breaks a rule.
    """
    from werkbund.config import changed, load_config

    loaded = load_config(config, settings or [])
    if data is not None:
        loaded = changed(loaded, data={"path": str(data.resolve()), "clients": {}})
    return loaded if seed is None else changed(loaded, federation={"seed": seed})
