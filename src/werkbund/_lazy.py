"""The front of a package whose modules are imported when somebody first asks for one of its names.

A command that prints a version, or a process at a plant that hands messages on, then waits for none of PyTorch, polars
and SciPy.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package that imports its names `if TYPE_CHECKING` alone.

    Parameters
    ----------
    package, file
        Name of the package and path of its `__init__.py`, in which these imports stand.

    Examples
    --------
    >>> import werkbund.core
    >>> find, names = lazy_names("werkbund.core", werkbund.core.__file__)
    >>> find("Layout").__module__, "ConfigError" in names()
    ('werkbund.core.weights', True)
    """
    homes = _homes(Path(file).read_text(encoding="utf-8"))

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return find, lambda: sorted({*vars(sys.modules[package]), *homes})


def _homes(source: str) -> dict[str, str]:
    """Return the module of each name that is imported for type checking: name -> module."""
    guarded = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    imports = [inner for node in guarded for inner in node.body if isinstance(inner, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}
