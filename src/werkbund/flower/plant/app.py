"""Flower's ClientApp: hands a message to the plant that lives here, and its answer back.

On a node that was given a kit (`--node-config 'kit="/path"'`) that is the kit's plant. In Flower's own simulation it
is one part of the built-in table, divided over the simulated nodes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import tomlkit
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from werkbund.core.errors import ConfigError
from werkbund.core.files import make_private
from werkbund.flower.plant.answering import Desk
from werkbund.flower.wire.records import from_records, to_records
from werkbund.plant import Plant, PlantFolder, load_settings
from werkbund.plant.shares import write_parts

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answer a training task."""
    return answer(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Answer an evaluation task."""
    return answer(message, context)


@app.query()
def query(message: Message, context: Context) -> Message:
    """Answer any other task."""
    return answer(message, context)


def answer(message: Message, context: Context) -> Message:
    """Return the answer of the plant that lives on this node to a message."""
    desk = _desk(_kit(context.node_config, context.run_id))
    return Message(to_records(desk.answer(from_records(message.content))), reply_to=message)


@cache
def _desk(kit: Path) -> Desk:
    settings = load_settings(kit)
    return Desk(Plant(settings, PlantFolder(settings.state)))


def _kit(node: Mapping[str, Any], run: int) -> Path:
    """Return the folder of the kit of this node; a simulated node gets one of its own."""
    if "kit" in node:
        return Path(str(node["kit"]))
    if not {"partition-id", "num-partitions"} <= set(node):
        raise ConfigError(
            "a node must be given its kit: start it with `werkbund client start KIT`, or flower-supernode with "
            "--node-config 'kit=\"/path/to/kit\"'"
        )
    number, count = int(node["partition-id"]), int(node["num-partitions"])
    folder = Path(tempfile.gettempdir()) / f"werkbund-{run}" / f"{number}-of-{count}"
    if not (folder / "client.toml").is_file():
        _make_kit(folder, number, count)
    return folder


def _make_kit(folder: Path, number: int, count: int) -> None:
    make_private(folder.parent)
    make_private(folder)
    name, path = write_parts(folder, count, only=number)[0]
    settings = {"client": {"name": name}, "server": {"address": "127.0.0.1:8000"}, "data": {"path": path.name}}
    (folder / "client.toml").write_text(tomlkit.dumps(json.loads(json.dumps(settings))), encoding="utf-8")
