"""Clients that attack, among the others: who they are, what they learn from, and whose rows judge the model.

Figures are over the rows of honest clients. The attackers' own held-out rows, which stay as they are, are kept apart:
they say what the model is worth to a plant whose sensor is broken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from werkbund.attack.answering import Scenario
from werkbund.attack.backdoor import Backdoor
from werkbund.attack.contract import Attack, LabelledRows, OnRows
from werkbund.core.arrays import Int64Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.core.text import did_you_mean
from werkbund.data import Preparation
from werkbund.partition.population import Population, RawTable

APART = "apart"
"""The split of the attackers' own test rows."""

_JUDGING = ("validation", "test", "later")


def drawn_scenario(
    attack: Attack, names: tuple[str, ...], who: Sequence[str] | float, from_round: int, seed: int
) -> Scenario:
    """Return who attacks how.

    Parameters
    ----------
    attack
        How.
    names
        Of all clients.
    who
        The attackers' names, or the share of all clients that the seed draws, rounded down, one at least.
    from_round
        The first round in which they attack.
    seed
        Of the run.

    Raises
    ------
    ConfigError
        If a name is no client's, or no honest client would be left.
    """
    if isinstance(who, float):
        number = max(int(who * len(names) + 1e-9), 1)
        clients = generator(seed, "attackers").permutation(len(names))[:number]
    else:
        unknown = [name for name in who if name not in names]
        if unknown:
            raise ConfigError(f"attack.clients must name clients, got {unknown[0]!r}{did_you_mean(unknown[0], names)}")
        clients = np.array([names.index(name) for name in dict.fromkeys(who)], np.int64)
    if len(clients) >= len(names):
        raise ConfigError(f"attack must leave an honest client, got {len(clients)} attackers of {len(names)} clients")
    return Scenario(attack, np.sort(clients), from_round, seed)


def judged_by_others(population: Population, attackers: Int64Array) -> Population:
    """Return a population in which attackers judge nothing; their test rows are the split `apart`."""
    honest = np.setdiff1d(np.arange(len(population.names)), attackers)
    splits = population.splits
    judging = {split: _without(splits[split], attackers) for split in _JUDGING}
    return replace(population, splits={**splits, **judging, APART: _without(splits["test"], honest)})


def _without(table: RawTable, clients: Int64Array) -> RawTable:
    """Return a table in which these clients have no rows."""
    sizes = np.diff(table.offsets)
    out = np.isin(np.arange(len(sizes)), clients)
    offsets = np.concatenate(([0], np.cumsum(np.where(out, 0, sizes))))
    return RawTable(table.frame, table.rows[~np.repeat(out, sizes)], offsets, table.modes)


@dataclass(frozen=True)
class SpoiltRows:
    """Hold the clients' rows in raw units, as attackers change them.

    Parameters
    ----------
    population
        All clients, before anybody attacks.
    preparation
        The common one, which was learnt before.
    scenario
        Who attacks how.
    """

    population: Population
    preparation: Preparation
    scenario: Scenario

    def train(self, clean: ClientTable) -> ClientTable:
        """Return the prepared training rows with those of the attackers spoilt; the clean ones where none are.

        Which failure mode a training row has is not told of any: nobody looks there.

        Raises
        ------
        ConfigError
            If a number is foretold: what attackers do to labels would change nothing that is learnt.
        """
        attack, seed = self.scenario.attack, self.scenario.seed
        if not isinstance(attack, OnRows):
            return clean
        if len(clean.risks):
            raise ConfigError(
                f"attack.kind {attack.name!r} spoils rows and their labels, and data.target = 'number' is learnt from "
                "the number; take an attack at updates, such as sign-flip, or data.target = 'failure'"
            )
        features, labels = [], []
        attackers = set(self.scenario.clients.tolist())
        for client in range(clean.num_clients):
            rows = clean.rows(client)
            if client in attackers and rows.stop > rows.start:
                rng = generator(seed, "attack on rows", client=client)
                spoilt = attack.spoil(self._labelled("train", np.array([client])), self._everybody, rng)
                features.append(self.preparation.transform(spoilt.frame))
                labels.append(spoilt.labels)
            else:
                features.append(clean.features[rows])
                labels.append(clean.labels[rows])
        offsets = np.concatenate(([0], np.cumsum([len(each) for each in labels])))
        modes = np.zeros((int(offsets[-1]), len(clean.mode_names)), np.bool_)
        return replace(
            clean, offsets=offsets, features=np.concatenate(features), labels=np.concatenate(labels), modes=modes
        )

    def failures_with(self, attack: Backdoor, client: int) -> pl.DataFrame:
        """Return a client's failures among its test rows with a back door's pattern on them; none of an attacker."""
        rows = self._labelled("test", np.array([client]))
        failing = rows.take(np.flatnonzero(rows.labels > 0))
        return attack.pattern(self._everybody).stamped(failing).frame

    @cached_property
    def _everybody(self) -> LabelledRows:
        return self._labelled("train", np.arange(len(self.population.names)))

    def _labelled(self, split: str, clients: Int64Array) -> LabelledRows:
        table, schema = self.population.splits[split].of(clients), self.population.schema
        frame = table.frame[table.rows]
        sensors = tuple(column.name for column in schema.features if column.kind == "number")
        return LabelledRows(frame, schema.labels(frame), sensors)
