"""A selector of one's own, named by where it stands: a module or a file, and the class in it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from werkbund.core.errors import ConfigError

_PARTS = ("declaration", "probe", "choose", "observe")


def load_selector(place: str) -> type[Any]:
    """Return the class at `package.module:Class` or `folder/file.py:Class`.

    Its code runs here, at the server; plants are told nothing of it.

    Raises
    ------
    ConfigError
        If it cannot be imported, or is no selector.
    """
    where, _, attribute = place.rpartition(":")
    try:
        found = getattr(_from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where), attribute)
    except Exception as error:  # importing runs the module, which may be anybody's code
        raise ConfigError(
            f"strategy.selection.name = {place!r} does not import: {type(error).__name__}: {error}; give "
            "folder/file.py:Class, or package.module:Class of an installed module"
        ) from error
    if not inspect.isclass(found) or not is_dataclass(found):
        raise ConfigError(f"strategy.selection.name = {place!r} must be a frozen dataclass, got {found!r}")
    lacking = [part for part in _PARTS if not hasattr(found, part)]
    if lacking:
        raise ConfigError(f"strategy.selection.name = {place!r} must have {', '.join(lacking)}; see docs/selection.md")
    return found


def _from_file(path: Path) -> ModuleType:
    """Return the module in a file; the same file is run once."""
    name = f"werkbund_selector_{abs(hash(str(path.resolve())))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
