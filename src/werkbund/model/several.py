"""Models of some clients each, beside one another in a run's folder, and which of them is a client's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from werkbund.core.errors import ModelError
from werkbund.core.files import write_atomically
from werkbund.core.text import did_you_mean
from werkbund.model.contract import Model

_FOLDER, _LIST = "models", "models.json"


@dataclass(frozen=True)
class MembersModel:
    """Hold a model and the names of the clients that use it."""

    clients: tuple[str, ...]
    model: Model


def write_several(folder: Path, several: Sequence[MembersModel]) -> None:
    """Write each model into `models/NUMBER`, with its ONNX file, and last `models.json`, which says whose each is."""
    lines = []
    for number, one in enumerate(several, start=1):
        place = f"{_FOLDER}/{number}"
        one.model.save(folder / place)
        write_atomically(folder / place / "model.onnx", one.model.to_onnx())
        lines.append({"folder": place, "clients": list(one.clients)})
    write_atomically(folder / _LIST, (json.dumps({"models": lines}, indent=1) + "\n").encode())


def folder_of_client(folder: Path, client: str | None) -> Path:
    """Return where a client's model lies in a run's folder; without several models it is that of all.

    Parameters
    ----------
    folder
        The run's.
    client
        Its name; None for nobody in particular.

    Raises
    ------
    ModelError
        If there are several models and no client is named, or none of this name.
    """
    path = folder / _LIST
    if not path.is_file():
        return folder / "model"
    try:
        places = {name: line["folder"] for line in json.loads(path.read_text())["models"] for name in line["clients"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} must say whose each model is, and cannot be read ({error!r}); resume the run"
        ) from error
    if client not in places:
        hint = "" if client is None else did_you_mean(client, list(places))
        raise ModelError(
            f"--client must name one of the run's clients, which have several models, got {client!r}{hint}; clients: "
            f"{', '.join(places)}"
        )
    return folder / _FOLDER / Path(str(places[client])).name
