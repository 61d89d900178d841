"""Values from files that may have been cut short or edited: checked before anybody reads them, or named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from werkbund.core.errors import CheckpointError, FederationError
from werkbund.core.files import make_private, write_privately
from werkbund.core.text import one_line

_LONGEST_VALUE = 60
_SEAL = "sha256"


def read_stored(path: Path, form: Any, remedy: str) -> Any:
    """Read the value that a JSON file holds.

    Parameters
    ----------
    path
        The file.
    form
        Type of what it holds, such as one of pydantic's models; keys beside those that it names may be there too.
    remedy
        What to do about a file that cannot be used, in words.

    Raises
    ------
    CheckpointError
        If it cannot be read, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; {remedy}") from error
    return stored_value(content, form, str(path), remedy)


def write_stored(path: Path, value: Any) -> None:
    """Write a plain value for `read_stored`, whole or not at all, for the owner alone."""
    make_private(path.parent)
    write_privately(path, (json.dumps(value) + "\n").encode())


def stored_value(content: bytes | str, form: Any, what: str, remedy: str) -> Any:
    """Return the value that JSON holds.

    Parameters
    ----------
    content
        The JSON.
    form, remedy
        As for `read_stored`.
    what
        Where it comes from, in words.

    Raises
    ------
    CheckpointError
        If it is no JSON, or holds something else.
    """
    try:
        value = json.loads(content)
        _adapter(form).validate_python(value, strict=True)
    except ValidationError as error:
        raise CheckpointError(f"{what} cannot be used: {_fault(error)}; {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what} cannot be read: it must hold JSON ({error}); {remedy}") from error
    return value


@contextmanager
def understood(path: Path, remedy: str) -> Iterator[None]:
    """Name the file of whatever is made of its content, if it cannot be made.

    Raises
    ------
    CheckpointError
        Instead of any error but one that is a `CheckpointError` already.
    """
    try:
        yield
    except CheckpointError:
        raise
    except FederationError as error:
        raise CheckpointError(f"{path} cannot be used: {error}; {remedy}") from error
    except Exception as error:  # what is wrong shows wherever it is first looked at
        what = f"{type(error).__name__}: {one_line(str(error), 2 * _LONGEST_VALUE)}"
        raise CheckpointError(
            f"{path} cannot be used, it was edited or written by another version ({what}); {remedy}"
        ) from error


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values with a digest of them, for a file that nobody is to edit."""
    return {**value, _SEAL: _digest(value)}


def unsealed(value: Mapping[str, Any], what: str, remedy: str) -> dict[str, Any]:
    """Return what `sealed` was given.

    Parameters
    ----------
    value
        What it returned, as it was read again.
    what, remedy
        As for `stored_value`.

    Raises
    ------
    CheckpointError
        If it was changed since.
    """
    content = {key: inner for key, inner in value.items() if key != _SEAL}
    if value.get(_SEAL) != _digest(content):
        raise CheckpointError(f"{what} was changed after it was written; {remedy}")
    return content


def by_dotted_key(values: Any, above: str = "") -> dict[str, Any]:
    """Return nested values by dotted key.

    Examples
    --------
    >>> by_dotted_key({"a": {"b": 1, "c": [2]}, "d": None})
    {'a.b': 1, 'a.c': [2], 'd': None}
    """
    if not isinstance(values, Mapping) or not values:
        return {above: values}
    flat: dict[str, Any] = {}
    for key, inner in values.items():
        flat |= by_dotted_key(inner, f"{above}.{key}" if above else str(key))
    return flat


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)


def _fault(error: ValidationError) -> str:
    """Return the first fault in words: key, rule, value."""
    fault = error.errors(include_url=False)[0]
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "missing":
        return f"{key} is missing"
    rule = str(fault["msg"]).removeprefix("Input ")
    return f"{f'{key} ' if key else 'it '}{rule}, got {one_line(repr(fault['input']), _LONGEST_VALUE)}"
