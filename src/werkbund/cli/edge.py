"""The edge that all commands share: where text goes, how errors end, and the arguments that several take."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from werkbund.cli.signals import STOPPED
from werkbund.core.errors import FederationError
from werkbund.core.text import one_line

if TYPE_CHECKING:
    from werkbund.config import Config

FAULT = 2
"""Exit status of a fault that the user can mend."""

_REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space, or have the quota raised",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "name a folder that can be written",
    errno.EACCES: "mend its access, or name another place",
    errno.EPERM: "mend its access, or name another place",
    errno.ENOENT: "make the folder first, or correct the path",
    errno.EISDIR: "name a file, or move the folder that has its name away",
    errno.ENOTDIR: "a file stands where a folder is needed; name another place",
    errno.EEXIST: "move away what stands there, or name another place",
    errno.ENOTEMPTY: "move away what stands there, or name another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the number of files that may be open (ulimit -n)",
    errno.ENFILE: "close other programs: the system has too many files open",
    errno.ENOLCK: "name a place on a disk of this machine: this one has no locks",
}
"""What to do about what the operating system refused."""

_NUMBER_IN_TEXT = re.compile(r"\(os error (\d+)\)")
"""How some libraries hand on the operating system's number of an error."""

ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG]", help="federation.toml; without one, the built-in federation.")
]
DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="CSV, Excel or Parquet file, or a folder or pattern of such.")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Table to learn from, in place of data.path.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key, such as federation.rounds=50.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the run, new or empty.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Seed of the whole run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout and nothing else there.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")]


class Flowing(Console):
    """Print running text (`soft_wrap`) with breaks between words on a terminal, and in one line for programs."""

    def print(self, *objects: Any, soft_wrap: bool | None = None, **how: Any) -> None:
        """Print as `Console` does."""
        super().print(*objects, soft_wrap=soft_wrap and not self.is_terminal, **how)


def output() -> Console:
    """Return the console for results."""
    return Flowing()


def progress() -> Console:
    """Return the console for progress, on stderr: stdout belongs to results."""
    return Flowing(stderr=True)


def print_line(text: str) -> None:
    """Print a line of running text, with no part of it coloured."""
    output().print(text, soft_wrap=True, highlight=False)


def print_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout."""
    from werkbund.core.arrays import plain

    sys.stdout.write(json.dumps(plain(value)) + "\n")


@contextmanager
def readable_errors() -> Iterator[None]:
    """End with one readable message where something can be mended, and never with a traceback for that.

    What was printed is written out here, so that a full disk below stdout is such an error too.
    """
    console = progress()
    try:
        yield
        sys.stdout.flush()
    except FederationError as error:
        _end(console, str(error), error)
    except BrokenPipeError:
        raise  # whoever read the output has seen enough
    except OSError as error:
        _end(console, refused_by_system(error), error)
    except KeyboardInterrupt as error:
        console.print("Stopped. `werkbund resume` goes on with the run where it was.")
        raise typer.Exit(STOPPED) from error


def refused_by_system(error: OSError) -> str:
    """Return what the operating system refused, and what to do, in one line.

    Examples
    --------
    >>> refused_by_system(OSError(errno.ENOSPC, "No space left on device", "runs/a/run.json"))
    'runs/a/run.json cannot be used: No space left on device; free some space there'
    """
    found = _NUMBER_IN_TEXT.search(str(error))
    number = error.errno or (int(found[1]) if found else None)
    remedy = _REMEDIES.get(number or 0, "mend that, or name another place")
    what = error.strerror if error.errno and error.strerror else one_line(str(error) or type(error).__name__)
    places = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' and '.join(places) or 'a file'} cannot be used: {what}; {remedy}"


def _end(console: Console, text: str, error: Exception) -> NoReturn:
    with suppress(OSError):  # where stderr cannot be written either
        console.print(Text.assemble(("Error: ", "bold red"), text), soft_wrap=True)
    _give_up_unwritten()
    raise typer.Exit(FAULT) from error


def _give_up_unwritten() -> None:
    """Let go of output that cannot be written, or Python would try again at its end and say so in its own words."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def configured(config: Path | None, data: Path | None, settings: list[str] | None, seed: int | None = None) -> Config:
    """Return the configuration that the arguments describe.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key or value breaks a rule.
    """
    from werkbund.config import changed, load_config
    from werkbund.data.dialect import KEYS as DIALECT_KEYS

    loaded = load_config(config, settings or [])
    if data is not None:
        said = {setting.split("=", 1)[0].strip() for setting in settings or []}
        # Another file may be written in another way.
        found_out = {key: None for key in DIALECT_KEYS if f"data.{key}" not in said}
        loaded = changed(loaded, data={"path": str(data.absolute()), "clients": {}, "map": {}, **found_out})
    return loaded if seed is None else changed(loaded, federation={"seed": seed})
