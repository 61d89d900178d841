"""Read, check, change and write configurations. This is the one place that parses them.

A fault names the key, the rule, the value, and the nearest key that exists.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import tomlkit
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from werkbund.config.sections import Config
from werkbund.core.errors import ConfigError
from werkbund.core.text import did_you_mean

Model = TypeVar("Model", bound=BaseModel)


def load_config(path: Path | str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Parameters
    ----------
    path
        A TOML file; None is the built-in federation. Relative data paths in it are taken from its folder.
    overrides
        `section.key=value` each, the value in TOML (a bare word is a text).

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key, type or value breaks a rule.
    """
    path = Path(path) if path is not None else None
    values = read_toml(path) if path is not None else {}
    for override in overrides:
        _set(values, override)
    return check_config(values, path.parent if path is not None else None)


def check_config(values: Mapping[str, Any], folder: Path | None = None) -> Config:
    """Check plain values against the sections' rules.

    Raises
    ------
    ConfigError
        With one line for each fault.
    """
    config = checked(Config, values)
    return _with_absolute_paths(config, folder) if folder is not None else config


def checked(model: type[Model], values: Mapping[str, Any], context: Mapping[str, Any] | None = None) -> Model:
    """Check plain values against the rules of a model made of sections; `context` is handed to its validators.

    Raises
    ------
    ConfigError
        With one line for each fault: key, rule, value, and for an unknown key the nearest one.
    """
    try:
        return model.model_validate(dict(values), context=context)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(model, fault) for fault in _distinct(model, error))) from error


def changed(config: Config, **sections: Mapping[str, Any]) -> Config:
    """Return a configuration with some keys changed.

    Examples
    --------
    >>> changed(Config(), federation={"rounds": 3}).federation.rounds
    3
    """
    values = config.model_dump(exclude_unset=True)
    for section, keys in sections.items():
        values[section] = {**values.get(section, {}), **keys}
    return check_config(values)


def to_toml(config: Config) -> str:
    """Return the resolved configuration as TOML: every key that has a value."""
    return tomlkit.dumps(_without_none(config.model_dump()))


def valid_keys() -> dict[str, FieldInfo]:
    """Return the field of every key, by the key with its sections before it."""
    return _fields(Config, "")


def read_toml(path: Path, writer: str = "werkbund init") -> dict[str, Any]:
    """Read a file's plain values.

    Parameters
    ----------
    path
        A TOML file in UTF-8.
    writer
        The command that writes such a file, named where there is none.

    Raises
    ------
    ConfigError
        If the file cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"configuration {path} does not exist; write one with `{writer}`") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration {path} is not TOML: {error}") from error


def _set(values: dict[str, Any], override: str) -> None:
    """Write an override of the command line into plain values."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set must be section.key=value, got {override!r}")
    section = values
    for part in parts[:-1]:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise ConfigError(f"--set {override!r}: {part} is a value, not a section")
    section[parts[-1]] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _distinct(model: type[BaseModel], error: ValidationError) -> list[Any]:
    """Return one fault a key: a key of several types reports one for each, of which a rule of ours says most."""
    faults: dict[str, Any] = {}
    for fault in sorted(error.errors(), key=lambda fault: fault["type"] != "value_error"):
        faults.setdefault(_known_key(model, fault["loc"]), fault)
    return list(faults.values())


def _known_key(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Return the dotted key of a fault, without the names of types that pydantic puts behind it."""
    kind: Any = model
    parts: list[str] = []
    for part in location:
        parts.append(str(part))
        kind = _below(kind, part)
        if kind is None:
            break
    return ".".join(parts)


def _below(kind: Any, part: int | str) -> Any:
    """Return what lies under a key of a section or of a mapping, if that is again one of the two; else None."""
    if _is_section(kind):
        field = kind.model_fields.get(part)
        inner = None if field is None else _annotation(field)
    else:
        inner = get_args(kind)[1] if get_origin(kind) is dict else None
    return inner if _is_section(inner) or get_origin(inner) is dict else None


def _annotation(field: FieldInfo) -> Any:
    """Return the type of a field; where it is a section, that of its default, which may have more keys."""
    return type(field.default) if isinstance(field.default, BaseModel) else field.annotation


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _explain(model: type[BaseModel], fault: Mapping[str, Any]) -> str:
    """Return one fault in words: key, rule and value."""
    key = _known_key(model, fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{'.'.join(map(str, fault['loc']))} is not a key of the configuration{_nearest(model, fault['loc'])}"
    if fault["type"] == "unknown_method":
        return str(fault["msg"])
    if fault["type"] == "missing":
        return f"{key} must be set, but is missing"
    if not key:
        return str(fault["msg"]).removeprefix("Value error, ")
    return f"{key}: {_lower(fault['msg'])}, got {fault['input']!r}"


def _nearest(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Return a hint: the key or section beside this one that is most like it, else the most like anywhere."""
    *above, _ = location
    section: Any = model
    for part in above:
        section = _below(section, part)
    names = section.model_fields if _is_section(section) else ()
    beside = [".".join(map(str, (*above, name))) for name in names]
    key = ".".join(map(str, location))
    hint = did_you_mean(key, beside) or did_you_mean(key, _fields(model, ""))
    return hint or f"; beside it there is {', '.join(beside or model.model_fields)}"


def _lower(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ")


def _fields(model: type[BaseModel], prefix: str) -> dict[str, FieldInfo]:
    fields: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        inner: Any = _annotation(field)
        fields |= _fields(inner, f"{prefix}{name}.") if _is_section(inner) else {f"{prefix}{name}": field}
    return fields


def _with_absolute_paths(config: Config, folder: Path) -> Config:
    """Return a configuration whose paths, written from its folder, are whole."""
    data = config.data
    changes: dict[str, Any] = {}
    if data.path is not None:
        changes["path"] = str((folder / data.path).resolve())
    if data.events.path is not None:
        own = data.events.model_dump(exclude_unset=True)
        changes["events"] = {**own, "path": str((folder / data.events.path).resolve())}
    if data.clients:
        changes["clients"] = {name: str((folder / path).resolve()) for name, path in data.clients.items()}
    sections = {"data": changes} if changes else {}
    if config.world.path is not None:
        sections["world"] = {"path": str((folder / config.world.path).resolve())}
    return changed(config, **sections) if sections else config


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value


SERVERS_OWN: tuple[str, ...] = (
    "data.source",
    "data.path",
    "data.clients",
    "data.client",
    "data.separator",
    "data.decimal_comma",
    "data.encoding",
    "data.skip",
    "data.header",
    "data.units_row",
    "data.sheet",
    "data.map",
    "data.rows",
    "data.plants",
    "data.units",
    "data.without",
    "data.zone",
    "data.tag",
    "data.value",
    "data.events",
    "data.fleet",
    "clients.partition",
    "clients.count",
    "clients.options",
    "clients.factors",
    "clients.outer",
    "clients.server",
    "clients.noisy",
    "clients.noise",
    "model.initial",
    "model.initial_rounds",
    "strategy.selection",
    "strategy.pace",
    "strategy.clusters",
    "evaluation.clients",
    "evaluation.server_rows",
    "evaluation.contributions",
    "evaluation.local_models",
    "world",
    "attack",
)
"""Keys of a configuration that are the server's own business; a whole section where only its name stands here."""


def leaves_of(config: Config) -> dict[str, Any]:
    """Return the values of a configuration by `section.key`, as plain ones; `world` and `attack` as one each.

    Examples
    --------
    >>> leaves_of(Config())["training.epochs"]
    1
    """
    values: dict[str, Any] = {}
    for section, keys in config.model_dump().items():
        values |= {section: keys} if section in _WHOLE else {f"{section}.{key}": value for key, value in keys.items()}
    return values


def with_leaves(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections that hold what `leaves_of` gave."""
    sections: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        (sections.setdefault(section, {}) if section else sections)[name] = value
    return sections


_WHOLE = ("world", "attack")
