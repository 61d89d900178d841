"""A plant's rows as a run needs them: read once for a run, divided as was agreed, and made ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from werkbund.config.sections import Config, ModelSection
from werkbund.core.errors import ClientError, FederationError
from werkbund.data import Schema, Table
from werkbund.data.schema_json import differences
from werkbund.data.table import in_time_order
from werkbund.federation.families.family import grows_trees
from werkbund.federation.wiring import model_spec
from werkbund.learner.models import count_parameters
from werkbund.partition.split import LEFT_OUT
from werkbund.plant.agreed import RefusedError, agreed_config
from werkbund.plant.agreement import Agreement, agreement_in, division_file, settled
from werkbund.plant.briefing import Briefing
from werkbund.plant.division import Dealt, KnownRows, deal
from werkbund.plant.parts import Parts
from werkbund.plant.policy import Policy
from werkbund.plant.settings import FILE_NAME as PLANTS_FILE
from werkbund.plant.settings import BoundsSection, PlantSettings
from werkbund.plant.store import PlantFolder
from werkbund.plant.whitelist import Ground, admitted, check_preparation, check_words

Read = Callable[[PlantSettings, Config], Table]
"""Reads the plant's rows under the federation's column names and units."""


@dataclass(frozen=True)
class DividedRows:
    """Hold a plant's rows, divided.

    Parameters
    ----------
    table
        Those that answers may be about, in order of time.
    dealt
        Which part each has, and the name of these rows with their parts.
    agreement
        By which they are divided.
    num_waiting
        New rows that are in no answer yet.
    num_left_out
        Rows that stay in no answer, see `partition.split.LEFT_OUT`.
    """

    table: Table
    dealt: Dealt
    agreement: Agreement
    num_waiting: int = 0
    num_left_out: int = 0


def divided_rows(
    table: Table, agreement: Agreement, division: KnownRows, minimum_rows: int
) -> tuple[DividedRows, KnownRows]:
    """Return the rows of a table that are in a part, and what is to be remembered of them; see `division.deal`."""
    table = in_time_order(table)
    dealt, after = deal(table, agreement, division, minimum_rows)
    used = dealt.part >= 0
    kept = replace(table, frame=table.frame.filter(used)) if not used.all() else table
    num_left_out = int((dealt.part == LEFT_OUT).sum())
    rows = DividedRows(kept, Dealt(dealt.part[used], dealt.version), agreement, dealt.num_waiting, num_left_out)
    return rows, after


class PlantRows:
    """Keep a plant's rows ready for one run, and what a briefing makes of them.

    Parameters
    ----------
    folder
        What the plant keeps.
    read
        Reads its rows.
    """

    def __init__(self, folder: PlantFolder, read: Read) -> None:
        self._folder, self._read_rows = folder, read
        self._run = ""
        self._rows: DividedRows | None = None
        self._parts: tuple[tuple[object, ...], Parts] | None = None

    @property
    def divided(self) -> DividedRows:
        """The rows of the last briefing."""
        assert self._rows is not None  # noqa: S101 - a briefing came first
        return self._rows

    def parts(self, briefing: Briefing, settings: PlantSettings, policy: Policy, now: datetime) -> Parts:
        """Return what a briefing makes of the plant's rows, by the plant's own file as it is now.

        Raises
        ------
        RefusedError
            If the briefing decides more than it may, or the rows differ too little from those of earlier answers.
        ClientError
            If the rows cannot be read, or mean something else here.
        """
        place = (briefing.fingerprint, policy, settings.bounds)
        if self._parts is not None and self._parts[0] == place and self.divided.agreement == self._in_force():
            return self._parts[1]
        check_words(briefing)
        agreed = agreed_config(settings.kit)
        config = admitted(briefing.config, Ground(agreed, settings.bounds, policy.minimum_rows))
        rows = self._divided(briefing, agreed, settings, policy, now)
        _check_schema(rows.table.schema, briefing.schema)
        _check_preparation(briefing, config, rows.table.schema, settings)
        told = replace(briefing, config=config)
        parts = Parts(settings.client.name, told, rows.table, rows.dealt.part, policy.minimum_rows)
        self._parts = (place, parts)
        return parts

    @property
    def latest(self) -> Parts | None:
        """What the last briefing made of them; None before the first."""
        return None if self._parts is None else self._parts[1]

    def _in_force(self) -> Agreement | None:
        return agreement_in(self._folder.path)

    def _divided(
        self, briefing: Briefing, agreed: Config, settings: PlantSettings, policy: Policy, now: datetime
    ) -> DividedRows:
        agreement = settled(self._folder.path, agreed, briefing.config.federation.seed, briefing.number, now)
        if self._rows is None or self._run != briefing.run or self._rows.agreement != agreement:
            file = division_file(self._folder.path)
            before = KnownRows.read(file)
            rows, after = divided_rows(self._read(settings, agreed), agreement, before, policy.minimum_rows)
            if after is not before:
                after.write(file)
            if rows.num_waiting:
                self._folder.event("rows", waiting=rows.num_waiting, minimum=policy.minimum_rows)
            self._run, self._rows = briefing.run, rows
        return self._rows

    def _read(self, settings: PlantSettings, agreed: Config) -> Table:
        """Read the rows; what is wrong with them is told here and not to the server: it may quote them."""
        try:
            return self._read_rows(settings, agreed)
        except FederationError as error:
            self._folder.event("error", task="read", error=str(error))
            raise ClientError(
                "its rows do not fit the federation's columns; `werkbund client check` there says what to write"
            ) from error


def _check_schema(own: Schema, told: Schema | None) -> None:
    """Refuse to add up what means something else here."""
    odd = [] if told is None else differences(own, told)
    if odd:
        raise ClientError(f"has another schema than the federation: {'; '.join(odd)}. Mend client.toml there")


def _check_preparation(briefing: Briefing, config: Config, own: Schema, settings: PlantSettings) -> None:
    if briefing.preparation is None:
        return
    fault = check_preparation(briefing.preparation, own)
    if fault:
        raise RefusedError(f"{fault}; a server may tell means, scales and levels alone")
    check_ratio(briefing.labels, settings.bounds)
    check_width(config, briefing.preparation.num_features, settings.bounds)


_MOST_LAYERS, _MOST_WIDTH = 100, 2**20


def check_ratio(labels: tuple[int, int], bounds: BoundsSection) -> None:
    """Refuse numbers of rows by class by which failures would count more than the plant's file allows.

    Raises
    ------
    RefusedError
        If they do.
    """
    without, with_failure = labels
    ratio = without / max(with_failure, 1)
    if ratio > max(bounds.positive_weight, 1) and any(labels):
        raise RefusedError(
            f"labels of this run, {without} rows without and {with_failure} with a failure, would give failures a "
            f"weight of {ratio:g}, more than bounds.positive_weight of {PLANTS_FILE}, {bounds.positive_weight:g}"
        )


def check_width(config: Config, num_features: int, bounds: BoundsSection) -> None:
    """Refuse a network of more parameters than the plant's file allows.

    Parameters
    ----------
    config
        Of the run.
    num_features
        The network's inputs.
    bounds
        Of the plant's file.

    Raises
    ------
    RefusedError
        If it is too large.
    """
    if grows_trees(config):
        return
    if ":" in config.model.kind:  # it is agreed, and building it runs its code
        return
    number = _num_parameters(config.model, num_features)
    if number is None or number > bounds.parameters:
        size = f"more than {_MOST_LAYERS} layers or {_MOST_WIDTH} units in one" if number is None else f"{number}"
        raise RefusedError(
            f"model of this run must have at most bounds.parameters of {PLANTS_FILE}, {bounds.parameters}, got {size}"
        )


def _num_parameters(model: ModelSection, num_features: int) -> int | None:
    """Return the number of a network's parameters, without memory for any; None if it has very many layers or units."""
    layers, widths = model.hidden or [], [*(model.hidden or []), model.width or 1]
    if max(len(layers), model.depth or 1) > _MOST_LAYERS or max(widths) > _MOST_WIDTH:
        return None
    return count_parameters(model_spec(model), num_features)
