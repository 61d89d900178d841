"""Methods that a configuration names: the options each takes, and one of your own by where it stands.

A method is a frozen dataclass; its options are its fields. What a field is for and which values it may have is said
once, by `option`, and read by whoever checks, documents or draws up a configuration.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from werkbund.core.errors import ConfigError
from werkbund.core.text import did_you_mean


def option(
    default: Any,
    what: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> Any:
    """Return the field of a method's option.

    Parameters
    ----------
    default
        Its value where a configuration is silent.
    what
        What it is for, in a few words.
    above, at_least, at_most, below
        Range of a number; a text's choices follow from its type, a `Literal`.
    """
    bounds = {"above": above, "at_least": at_least, "at_most": at_most, "below": below}
    return field(default=default, metadata={"what": what, "bounds": bounds})


@dataclass(frozen=True)
class Option:
    """Describe one option of a method.

    Parameters
    ----------
    name
        Its key in a configuration.
    type
        As the field declares it.
    default
        `dataclasses.MISSING` where there is none.
    what
        What it is for; empty where nobody says.
    above, at_least, at_most, below
        Range of a number, None where it is open.
    """

    name: str
    type: Any
    default: Any
    what: str = ""
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    below: float | None = None

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values of a `Literal`; none for any other type."""
        return tuple(value for kind in _kinds(self.type) if get_origin(kind) is Literal for value in get_args(kind))

    @property
    def range(self) -> str:
        """The values that it may have, in words and signs.

        Examples
        --------
        >>> Option("momentum", float, 0.9, at_least=0, below=1).range, Option("step", float, 1.0, above=0).range
        ('in [0, 1)', '> 0')
        """
        if self.choices:
            *first, last = map(str, self.choices)
            return f"{', '.join(first)} or {last}" if first else last
        low = self.above if self.above is not None else self.at_least
        high = self.below if self.below is not None else self.at_most
        if low is not None and high is not None:
            opening, closing = "[" if self.above is None else "(", "]" if self.below is None else ")"
            return f"in {opening}{low:g}, {high:g}{closing}"
        if low is not None:
            return f"{'>' if self.above is not None else '>='} {low:g}"
        if high is not None:
            return f"{'<' if self.below is not None else '<='} {high:g}"
        return " or ".join(_WORDS.get(kind, "given") for kind in _kinds(self.type))

    def admits(self, value: Any) -> bool:
        """Say whether a value has the option's type and lies in its range; numbers must be finite."""
        if self.choices and value in self.choices:
            return True
        return any(_is_of(value, kind) for kind in _kinds(self.type)) and self._within(value)

    def _within(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        return (
            math.isfinite(value)
            and (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )


_WORDS: dict[Any, str] = {
    float: "a finite number",
    int: "a whole number",
    str: "a text",
    bool: "true or false",
    NoneType: "left out",
}


def _kinds(declared: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the one type."""
    return get_args(declared) if get_origin(declared) in (Union, UnionType) else (declared,)


def _is_of(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return False
    if kind in (int, float):
        return isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    plain = get_origin(kind) or kind
    return isinstance(value, plain) if isinstance(plain, type) else True


def options_of(method: type[Any]) -> dict[str, Option]:
    """Return a method's options by name, in the order of its fields."""
    types = get_type_hints(method)
    return {
        each.name: Option(
            each.name, types[each.name], each.default, each.metadata.get("what", ""), **each.metadata.get("bounds", {})
        )
        for each in fields(method)
        if each.init
    }


def name_of(method: object) -> str:
    """Return the name by which a method is known; that of its class, if it has none."""
    return str(getattr(method, "name", type(method).__name__))


def check_options(method: Any, key: str) -> None:
    """Refuse a method whose options break their rules; stands in its `__post_init__`.

    Parameters
    ----------
    method
        The value that is being made.
    key
        Of the configuration's section, such as `strategy.aggregation`.

    Raises
    ------
    ConfigError
        If an option has another type, or lies out of range.
    """
    for name, declared in options_of(type(method)).items():
        _check(declared, getattr(method, name), key)


def _check(declared: Option, value: Any, key: str) -> None:
    if not declared.admits(value):
        raise ConfigError(f"{key}.{declared.name} must be {declared.range}, got {value!r}")


@dataclass(frozen=True)
class Registry:
    """Hold the methods of one kind by name, and find one of your own by where it stands.

    Parameters
    ----------
    key
        Of the configuration's section, such as `strategy.aggregation`.
    noun
        What a method is, with its article.
    parts
        What its class must have.
    methods
        The shipped and the registered classes, by name.
    page
        Of the documents, that says how one of your own is written.
    naming
        The section's key that names a method.
    """

    key: str
    noun: str
    parts: tuple[str, ...]
    methods: dict[str, type[Any]]
    page: str
    naming: str = "name"

    def register(self, method: type[Any]) -> type[Any]:
        """Add a method of one's own, a frozen dataclass with a `name`; may stand before the class as a decorator.

        Raises
        ------
        ConfigError
            If the name is taken.
        """
        if self.methods.setdefault(method.name, method) is not method:
            raise ConfigError(f"{self.noun} of the name {method.name!r} is there already; choose another name")
        return method

    def find(self, name: str) -> type[Any]:
        """Return the class of a name, or the one at `folder/file.py:Class` or `package.module:Class`.

        Raises
        ------
        ConfigError
            If there is none.
        """
        if ":" in name:
            return load_method(name, f"{self.key}.{self.naming}", self.parts, self.page)
        if name not in self.methods:
            raise ConfigError(
                f"{self.key}.{self.naming} must be one of {', '.join(self.methods)}, or file.py:Class of your own, "
                f"got {name!r}{did_you_mean(name, self.methods)}"
            )
        return self.methods[name]

    def build(self, name: str, options: Mapping[str, Any]) -> Any:
        """Return a method with these options.

        Raises
        ------
        ConfigError
            If there is none of this name, or an option is unknown, lacking, or breaks its rule.
        """
        method = self.find(name)
        known = options_of(method)
        self.check_names(name, options, known)
        for given, value in options.items():
            _check(known[given], value, self.key)
        lacking = [field.name for field in known.values() if field.default is MISSING and field.name not in options]
        lacking = [each for each in lacking if not _has_factory(method, each)]
        if lacking:
            raise ConfigError(f"{self.key} of {name!r} needs {', '.join(lacking)}")
        return method(**{given: _as_declared(known[given], value) for given, value in options.items()})

    def check_names(self, name: str, options: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        """Refuse options that a method does not take.

        Raises
        ------
        ConfigError
            If there are any; it names them, the nearest known one, and all that the method takes.
        """
        unknown = [given for given in options if given not in known]
        if unknown:
            takes = ", ".join(known) or "none"
            raise ConfigError(
                f"{self.key} of {name!r} takes no option {', '.join(unknown)}{did_you_mean(unknown[0], known)}; "
                f"it takes {takes}"
            )


def load_method(place: str, key: str, parts: tuple[str, ...], page: str) -> type[Any]:
    """Return the class at `package.module:Class` or `folder/file.py:Class`.

    Its code runs here, at the server; plants are told nothing of it.

    Parameters
    ----------
    place
        Where it stands.
    key
        Of the configuration, that says so.
    parts
        What it must have.
    page
        That says how one is written.

    Raises
    ------
    ConfigError
        If it cannot be imported, is no frozen dataclass, or lacks a part.
    """
    where, _, attribute = place.rpartition(":")
    try:
        method = getattr(_module_at(where), attribute)
    except Exception as error:  # importing runs the module, which may be anybody's code
        raise ConfigError(
            f"{key} = {place!r} does not import: {type(error).__name__}: {error}; give "
            "folder/file.py:Class, or package.module:Class of an installed module"
        ) from error
    if not inspect.isclass(method) or not is_dataclass(method):
        raise ConfigError(f"{key} = {place!r} must be a frozen dataclass, got {method!r}")
    lacking = [part for part in parts if not hasattr(method, part)]
    if lacking:
        raise ConfigError(f"{key} = {place!r} must have {', '.join(lacking)}; see {page}")
    return method


def _has_factory(method: type[Any], name: str) -> bool:
    return any(each.name == name and each.default_factory is not MISSING for each in fields(method))


def _as_declared(declared: Option, value: Any) -> Any:
    """Return a whole number as a float where the option is one."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and int not in (kinds := _kinds(declared.type)) and float in kinds else value


def _module_at(where: str) -> ModuleType:
    """Return the module of a dotted name, or of a file; the same file is run once."""
    if not where.endswith(".py"):
        return importlib.import_module(where)
    path = Path(where)
    name = f"werkbund_method_{abs(hash(str(path.resolve())))}"
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
