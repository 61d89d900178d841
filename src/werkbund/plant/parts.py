"""A plant's rows made ready for a run, step by step as the run tells more about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import Int8Array, Int64Array
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.data import Table
from werkbund.data.statistics import survey_each
from werkbund.engine import Handler
from werkbund.federation.families.contract import ClientWork, Simulation
from werkbund.federation.families.family import family_of
from werkbund.federation.preparing import StatisticsWork
from werkbund.federation.training import Trained, train
from werkbund.partition.population import Population, one_client
from werkbund.plant.briefing import Briefing

ReadTable = Callable[[Config], Table]
"""Reads the plant's rows under the federation's column names and units."""


_SHARE = 1 / 3
"""Of the time for an answer to a delivered model, what the plant may train by itself for, to compare."""


def _by_itself(config: Config) -> Config:
    """Return a configuration by which a plant trains alone: it ends in time to answer, and adds to nobody's numbers."""
    limits = [_SHARE * config.federation.round_timeout_s, config.stop.seconds]
    seconds = min(limit for limit in limits if limit is not None)
    alone = config.privacy.model_copy(update={"secure_sums": False})  # though noise is shared
    return changed(config, stop={"seconds": seconds}).model_copy(update={"privacy": alone})


@dataclass(frozen=True)
class Parts:
    """Hold what one briefing makes of the plant's rows; each part is made when it is first needed.

    Parameters
    ----------
    name
        Of the plant.
    briefing
        What the run is about; its configuration is the plant's own, see `whitelist.admitted`.
    table
        The plant's rows that answers may be about, in order of time.
    part
        (rows,), which split each row belongs to, by its number in `partition.split.PARTS`.
    minimum_rows
        A failure mode that is a text of rows, and is that of fewer, is counted as none.
    """

    name: str
    briefing: Briefing
    table: Table
    part: Int8Array
    minimum_rows: int = 1

    @cached_property
    def population(self) -> Population:
        """The plant by itself, its rows divided."""
        return one_client(self.table, self.name, self.briefing.mode_names, self.part, self.minimum_rows)

    @cached_property
    def simulation(self) -> Simulation:
        """The plant as a federation of one, with the common preparation."""
        briefing = self.briefing
        if briefing.preparation is None:
            raise ClientError("the server asks for training before the common scaling is learnt; it runs other code")
        config, make = _by_itself(briefing.config), family_of(briefing.config).simulate_prepared
        return make(config, self.population, briefing.preparation, np.array(briefing.labels))

    @cached_property
    def num_training_rows(self) -> int:
        """Rows that the plant trains on."""
        return len(self.population.splits["train"].rows)

    @cached_property
    def num_training_failures(self) -> int:
        """Failures among the rows that the plant trains on."""
        train = self.population.splits["train"]
        return int(self.population.schema.labels(train.frame[train.rows]).sum())

    @cached_property
    def num_later(self) -> tuple[int, int]:
        """Rows of the later period, and failures among them."""
        raw = self.population.splits["later"]
        return len(raw.rows), int(self.population.schema.labels(raw.frame[raw.rows]).sum()) if len(raw.rows) else 0

    @cached_property
    def num_held_out(self) -> tuple[int, int]:
        """Rows that judge a delivered model, and failures among them."""
        test = self.simulation.splits.test
        return len(test.labels), int(test.labels.sum())

    @cached_property
    def num_values(self) -> Int64Array:
        """Values present of each numeric feature among the training rows: (1, features)."""
        train, schema = self.population.splits["train"], self.population.schema
        counted, _ = survey_each(train.frame[train.rows], schema, np.array([0, len(train.rows)]))
        number: Int64Array = counted["count"]
        return number

    @cached_property
    def trained_alone(self) -> Trained:
        """What the plant learns by itself, with the same kind of model and as much training as there is time for."""
        return train(self.simulation.alone(0))

    @cached_property
    def statistics(self) -> dict[Kind, Handler]:
        """Counts over training rows."""
        return StatisticsWork(self.population.splits["train"], self.population.schema).handlers()

    @cached_property
    def work(self) -> ClientWork:
        """Training and evaluation; of a network also the update that is held back until it is asked for."""
        return self.simulation.work(np.array([self.briefing.number]))

    @cached_property
    def training(self) -> Mapping[Kind, Handler]:
        """The functions for the kinds of `work`."""
        return self.work.handlers()
