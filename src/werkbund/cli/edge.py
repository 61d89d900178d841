"""The edge that all commands share: where text goes, how errors end, what a program gets on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from werkbund.core.errors import FederationError
from werkbund.federation.folder import plain

FAULT = 2
"""Exit status of a fault that the user can mend."""


def output() -> Console:
    """Return the console for results."""
    return Console()


def progress() -> Console:
    """Return the console for progress, on stderr: stdout belongs to results."""
    return Console(stderr=True)


def print_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout."""
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
        raise typer.Exit(130) from error
