"""A federation whose plants are folders of their own, reached by real messages but without a network between.

Everything is as in production, from the plant's file to the bytes of each message; only Flower does not carry them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomlkit

from tests.wire import read_answer, read_ask
from werkbund.config import Config, changed, check_config
from werkbund.core.arrays import Float32Array
from werkbund.core.errors import ClientError
from werkbund.core.files import write_privately
from werkbund.core.keys import new_key, ssh_private, ssh_public
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.data.ai4i import AI4I_SCHEMA
from werkbund.federation import Run
from werkbund.federation.families.networks import NetworkSimulation, simulate_prepared_network
from werkbund.federation.folder import Folder
from werkbund.federation.population import divide
from werkbund.federation.preparing import learn_preparation
from werkbund.federation.tables import read_table
from werkbund.flower.plant.answering import Desk
from werkbund.flower.provision.kits import plant_config
from werkbund.flower.wire.codec import Ask, encode_ask
from werkbund.flower.wire.parcel import Parcel
from werkbund.plant import Plant, PlantFolder, load_settings
from werkbund.plant.briefing import Briefing, for_clients
from werkbund.plant.offers import Offer
from werkbund.plant.shares import write_parts
from werkbund.server import resume_deployed, run_deployed

TRIAL: dict[str, Any] = {"draws": "federation", "minimum_bin_rows": 1}
"""The policy of plants that are to give the bits of a simulation."""

Answerer = Callable[[Parcel], Parcel]
"""A plant's end of a message."""

SMALL: dict[str, dict[str, Any]] = {
    "federation": {"rounds": 3, "seed": 1},
    "data": {"source": "generator", "rows": 900, "plants": 3},
    "clients": {"count": 3},
    "model": {"kind": "mlp", "hidden": [4]},
    "training": {"batch_size": 64, "batched": False, "compiled": False},
}


def small_config(**sections: dict[str, Any]) -> Config:
    """Return a small federation; keys given replace those of `SMALL`."""
    values = {name: dict(keys) for name, keys in SMALL.items()}
    for name, keys in sections.items():
        values[name] = {**values.get(name, {}), **keys}
    return check_config(values)


@dataclass
class DirectGrid:
    """Reach desks by parcels; who was asked last answers first.

    It is as trustful as a grid may be: what decodes is passed on, whatever it says.

    Parameters
    ----------
    desks
        By client name.
    offline
        Names of clients that cannot be reached.
    """

    desks: Mapping[str, Answerer]
    offline: set[str] = field(default_factory=set)
    asked: list[Ask] = field(default_factory=list)
    answered: list[tuple[Ask, Parcel]] = field(default_factory=list)
    _failed: list[Failure] = field(default_factory=list)
    _waiting: list[Ask] = field(default_factory=list)
    _tell: Callable[[int], Briefing] | None = None
    _briefed: dict[str, str] = field(default_factory=dict)

    def clients(self) -> tuple[str, ...]:
        return tuple(self.desks)

    def brief(self, tell: Callable[[int], Briefing]) -> None:
        self._tell = tell

    def send(self, tasks: Tasks) -> None:
        assert self._tell is not None
        for place, client in enumerate(tasks.clients.tolist()):
            one = tasks.take(slice(place, place + 1))
            name, told = self.clients()[client], self._tell(client)
            if name in self.offline:
                self._failed.append(Failure(client, tasks.round, "is offline"))
            else:
                known = self._briefed.get(name) == told.fingerprint
                self._briefed[name] = told.fingerprint
                self._waiting.append(Ask(told.run, name, one, told.fingerprint, None if known else told.to_json()))

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        failed, self._failed = self._failed, []
        yield from failed
        waiting, self._waiting = self._waiting, []
        for ask in reversed(waiting):
            self.asked.append(ask)
            yield self._arrival(ask)

    def _arrival(self, ask: Ask) -> Replies | Failure:
        client, round = int(ask.tasks.clients[0]), ask.tasks.round
        try:
            parcel = self.desks[ask.name](encode_ask(ask))
            self.answered.append((ask, parcel))
            answer = read_answer(parcel, asked=ask.tasks.kind)
        except ClientError as error:
            return Failure(client, round, str(error))
        return Failure(client, round, answer.reason) if answer.replies is None else answer.replies


@dataclass(frozen=True)
class Deployment:
    """Hold the kits of some plants, each with its rows beside it.

    Parameters
    ----------
    folder
        Where all lies.
    config
        Of the federation; as the server has it, and with the plants' files for a run in one process.
    kits
        Each plant's folder, by name.
    """

    folder: Path
    config: Config
    kits: Mapping[str, Path]

    def plant(self, name: str, **how: Any) -> Plant:
        """Return a plant as its worker process has it after a start."""
        settings = load_settings(self.kits[name])
        return Plant(settings, PlantFolder(settings.state), **how)

    def desk(self, name: str) -> Desk:
        return Desk(self.plant(name))

    def store(self, name: str) -> PlantFolder:
        return PlantFolder(self.kits[name] / "state")

    def write(self, name: str, **sections: dict[str, Any]) -> None:
        """Write a plant's own file anew."""
        values = {
            "client": {"name": name},
            "server": {"address": "127.0.0.1:8000"},
            "data": {"path": "rows.csv"},
            **sections,
            "policy": {**TRIAL, **sections.get("policy", {})},
        }
        agreed = self.kits[name] / "federation.toml"
        if not agreed.exists():
            agreed.write_text(plant_config(self.config), encoding="utf-8")
        (self.kits[name] / "client.toml").write_text(tomlkit.dumps(values), encoding="utf-8")

    def grid(self, **spoilt: Answerer) -> DirectGrid:
        """Return a grid to freshly started plants, some of which may be replaced."""
        return DirectGrid({name: spoilt.get(name, self.desk(name).answer) for name in self.kits})

    @property
    def plants(self) -> Path | None:
        """The folder of all plants' public keys, where the federation has secure sums."""
        return self.folder / "plants" if self.config.privacy.secure_sums else None

    def run(self, grid: Any = None, name: str = "run", **how: Any) -> Run:
        folder = Folder.create("x", self.folder / name)
        return run_deployed(self.config, grid or self.grid(), plants=self.plants, folder=folder, **how)

    def resume(self, grid: Any = None, name: str = "run", **how: Any) -> Run:
        return resume_deployed(self.folder / name, grid or self.grid(), plants=self.plants, **how)


def deploy(
    folder: Path, policies: Mapping[str, dict[str, Any]] | None = None, **sections: dict[str, Any]
) -> Deployment:
    """Write the kits of a small federation.

    Parameters
    ----------
    folder
        Where to.
    policies
        Each plant's policy section, by name.
    sections
        Of the federation's configuration; keys given replace those of `SMALL`.
    """
    config = small_config(**sections)
    rows = folder / "rows"
    rows.mkdir(parents=True)
    parts = write_parts(rows, int(config.clients.count or 3), config)
    kits = {}
    for name, path in parts:
        kits[name] = folder / name
        kits[name].mkdir()
        path.rename(kits[name] / "rows.csv")
    files = {name: str(kit / "rows.csv") for name, kit in kits.items()}
    deployment = Deployment(folder, changed(config, data={"clients": files}), kits)
    for name in kits:
        deployment.write(name, policy=(policies or {}).get(name, {}))
    if config.privacy.secure_sums:
        _exchange_keys(folder, kits)
    return deployment


def _exchange_keys(folder: Path, kits: Mapping[str, Path]) -> None:
    """Give each kit a key of its own, and the public keys of all, as `werkbund provision` does."""
    keys = {name: new_key() for name in kits}
    public = {f"{name}.pub": ssh_public(key.public_key(), name) for name, key in keys.items()}
    for name, kit in kits.items():
        write_privately(kit / "client.key", ssh_private(keys[name]))
    for place in (folder, *kits.values()):
        (place / "plants").mkdir()
        for name, content in public.items():
            (place / "plants" / name).write_bytes(content)


@dataclass(frozen=True)
class Learnt:
    """Hold plants whose common scaling is learnt, and the same federation in one process.

    Parameters
    ----------
    deployment
        The plants.
    briefing
        What each plant, by number, must know to train.
    here
        The federation in one process.
    """

    deployment: Deployment
    briefing: Callable[[int], Briefing]
    here: NetworkSimulation

    def grid(self, offers: Sequence[Offer]) -> DirectGrid:
        """Return a grid to freshly started plants that do these kinds of tasks."""
        plants = {name: self.deployment.plant(name, offers=offers) for name in self.deployment.kits}
        grid = DirectGrid({name: Desk(plant).answer for name, plant in plants.items()})
        grid.brief(self.briefing)
        return grid


def learnt(deployment: Deployment) -> Learnt:
    """Let plants and server learn the common scaling of a run."""
    config, grid, modes = deployment.config, deployment.grid(), AI4I_SCHEMA.modes
    public = for_clients(config)
    grid.brief(lambda number: Briefing("run", public, number, modes))
    common = learn_preparation(grid, AI4I_SCHEMA, 5.0)
    without, with_failure = common.survey.labels.tolist()

    def briefing(number: int) -> Briefing:
        labels = (without, with_failure)
        return Briefing("run", public, number, modes, AI4I_SCHEMA, common.preparation, labels)

    population = divide(read_table(config), config).population
    here = simulate_prepared_network(config, population, common.preparation, common.survey.labels)
    return Learnt(deployment, briefing, here)


def weights_in(run: Path) -> Float32Array:
    """Return the weights that a run has kept."""
    weights: Float32Array = np.load(run / "model" / "weights.npy")
    return weights


def kind_of(parcel: Parcel) -> tuple[str, int]:
    """Return which kind of task a parcel asks, and of which round."""
    tasks = read_ask(parcel).tasks
    return tasks.kind.name, tasks.round
