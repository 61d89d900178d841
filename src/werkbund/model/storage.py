"""A folder of one JSON file and plain arrays: nothing in it can run when it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from werkbund.core.arrays import AnyArray, Float32Array
from werkbund.core.errors import ConfigError, ModelError
from werkbund.core.files import write_atomically
from werkbund.model.contract import Model

M = TypeVar("M", bound=Model)

FAMILIES = {"network": "werkbund.model.network:TrainedModel", "trees": "werkbund.model.trees:TreeModel"}
"""Family of a model, as its folder states it -> what reads the folder; PyTorch is imported for networks alone."""

FORMAT = 1
DESCRIPTION = "model.json"


def load_model(folder: Path | str) -> Model:
    """Read what any model's `save` wrote.

    Raises
    ------
    ModelError
        If a file is missing, truncated or changed, or this release knows no such family.
    """
    folder = Path(folder)
    family = str(read_description(folder).get("family", "network"))
    if family not in FAMILIES:
        raise ModelError(
            f"model folder {folder} must hold one of {', '.join(FAMILIES)}, got {family!r}; update Werkbund"
        )
    module, name = FAMILIES[family].split(":")
    loaded: Model = getattr(import_module(module), name).load(folder)
    return loaded


def write_folder(folder: Path, description: Mapping[str, Any], arrays: Mapping[str, AnyArray]) -> None:
    """Write named arrays, and last the description (plain values), which makes the folder readable."""
    files = {name: f"{name.replace(' ', '_')}.npy" for name in arrays}
    text = json.dumps({"format": FORMAT, **description, "arrays": files}, indent=1, ensure_ascii=False)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    for name, file in files.items():
        np.save(folder / file, arrays[name], allow_pickle=False)
    write_atomically(folder / DESCRIPTION, f"{text}\n".encode())


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, AnyArray]]:
    """Return description and arrays that `write_folder` wrote.

    Raises
    ------
    ModelError
        If a file is missing, truncated, of another format, or holds objects instead of values.
    """
    description = read_description(folder)
    return description, {name: _read_array(folder, file) for name, file in description["arrays"].items()}


def read_model(folder: Path, build: Callable[[dict[str, Any], dict[str, AnyArray]], M]) -> M:
    """Return the model that `build` makes of description and arrays, if it is the one that was written.

    Raises
    ------
    ModelError
        If a file or a part is missing, truncated or changed.
    """
    described, arrays = read_folder(folder)
    try:
        model = build(described, arrays)
    except ModelError as error:
        raise ModelError(f"model folder {folder} is damaged: {error}") from error
    except Exception as error:  # what is wrong shows wherever a part is first looked at
        raise ModelError(f"model folder {folder} is incomplete ({error!r}); save the model again") from error
    if model.fingerprint != described.get("fingerprint"):
        raise ModelError(f"model folder {folder} was changed after it was saved; save the model again")
    return model


def read_description(folder: Path) -> dict[str, Any]:
    """Return the description alone; errors as for `read_folder`."""
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"a model folder must have {path.name}, none at {path}; name another folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"model file {path} cannot be read ({error}); save the model again") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ModelError(f"model file {path} must have format {FORMAT}; read it with the release that wrote it")
    if not isinstance(description.get("arrays"), dict):
        raise ModelError(f"model file {path} must list its arrays; save the model again")
    return description


def _read_array(folder: Path, file: object) -> AnyArray:
    name = Path(str(file)).name  # a description must not lead out of its folder
    try:
        with (folder / name).open("rb") as stream:
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
    except Exception as error:  # NumPy's reader has many errors for damaged heads
        raise ModelError(f"model file {folder / name} cannot be read ({error}); save the model again") from error


def stored_weights(path: Path, num_parameters: int) -> Float32Array:
    """Return first weights, (parameters,), from a `.npy` file or from a run's folder.

    Raises
    ------
    ConfigError
        If there are none of this number.
    """
    file = path / "model" / "weights.npy" if path.is_dir() else path
    try:
        weights = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(
            "model.initial must be random, client, client:NAME, a run's folder or a .npy file, "
            f"got {str(path)!r}: {error}"
        ) from error
    if not isinstance(weights, np.ndarray) or weights.shape != (num_parameters,) or not np.isfinite(weights).all():
        shape = getattr(weights, "shape", type(weights).__name__)
        raise ConfigError(f"model.initial: {file} must hold {num_parameters} finite parameters, got {shape}")
    return np.asarray(weights, dtype=np.float32)
