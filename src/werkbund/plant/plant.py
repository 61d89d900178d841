"""A plant at work: asked by the server, bound by its own policy, with rows that stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from werkbund.config.sections import Config
from werkbund.core.errors import ClientError, ConfigError, FederationError
from werkbund.core.kinds import Kind, by_name
from werkbund.core.types import Replies, Tasks
from werkbund.data import Table
from werkbund.data.schema_json import differences
from werkbund.federation.briefing import Briefing
from werkbund.plant.agreed import RefusedError, check_agreed
from werkbund.plant.leaving import cut_down, signals_of
from werkbund.plant.offers import OFFERS, Offer, Plot, kinds_of
from werkbund.plant.parts import Parts
from werkbund.plant.policy import Policy
from werkbund.plant.settings import FILE_NAME, PlantSettings, load_settings
from werkbund.plant.source import read_plant_table
from werkbund.plant.store import PlantFolder
from werkbund.plant.withholding import over_enough

Clock = Callable[[], datetime]


class Plant:
    """Answer a server's tasks.

    Parameters
    ----------
    settings
        The plant's own file.
    folder
        Where what must survive lies.
    clock
        Tells local time, with its zone.
    offers
        The kinds of tasks that it does, each of a name of its own.
    """

    def __init__(
        self,
        settings: PlantSettings,
        folder: PlantFolder,
        clock: Clock | None = None,
        offers: Sequence[Offer] = OFFERS,
    ) -> None:
        self.settings, self.folder = settings, folder
        self._kinds = by_name(kinds_of(offers))
        self._offers = {offer.kind: offer for offer in offers}
        self._clock = clock or (lambda: datetime.now().astimezone())
        self._known = [signal.name for signal in signals_of(self._offers)]
        self._policy = Policy.of(settings, self._known)
        self._written = self._last_change()
        self._parts: Parts | None = None
        self._counted: tuple[str, int] | None = None

    @property
    def name(self) -> str:
        """The plant's name in the federation."""
        return self.settings.client.name

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """The kinds of tasks that it does, by name."""
        return self._kinds

    def answer(self, briefing: Briefing, tasks: Tasks) -> Replies:
        """Do one task.

        Parameters
        ----------
        briefing
            What the run is about.
        tasks
            One task, for this plant.

        Raises
        ------
        RefusedError
            If the policy forbids it.
        FederationError
            If it cannot be done.
        """
        self._read_policy_again()
        under_way = tasks.kind.staged and self._counted == (briefing.run, tasks.round)
        refusal = self._policy.refusal(tasks.kind, self._clock(), self.folder.counters(), under_way)
        if refusal is not None:
            raise RefusedError(refusal)
        self._check_schema(briefing)
        offer = self._offer(briefing, tasks.kind)
        plot = Plot(self.settings, self.folder, self._policy, self._prepared(briefing), self._clock())
        here = replace(over_enough(tasks, self._policy), clients=np.zeros(1, np.int64))
        store = self.folder.notes.open(briefing.run, tasks.round, tasks.kind.trains and not under_way)
        # What may leave is what the offered kind declares, whoever does the work.
        replies = replace(offer.handler(plot)(here, store), clients=tasks.clients, kind=offer.kind)
        store.save()
        if tasks.kind.trains and not under_way:
            self.folder.count_round(self._clock())
            self._counted = (briefing.run, tasks.round)
        return cut_down(offer.withheld(replies, self._policy, plot.parts), self._policy.signals)

    def recall(self, task_id: str) -> bytes | None:
        """Return the answer that was given to this task before.

        None if there is none, if the plant takes no part now, or if its policy lets other things leave since.
        """
        try:
            self._read_policy_again()
        except RefusedError:
            return None
        if self._policy.refusal(None, self._clock(), {}) is not None:
            return None
        return self.folder.recorded_reply(self._under_policy(task_id))

    def remember(self, task_id: str, reply: bytes, round: int) -> None:
        """Keep an answer, so that the task is not done again if it comes again."""
        self.folder.remember_reply(self._under_policy(task_id), reply, round)

    def _under_policy(self, task_id: str) -> str:
        policy = self._policy
        return f"{task_id} {sorted(policy.signals)} {policy.minimum_rows} {policy.minimum_failures}"

    def _read_policy_again(self) -> None:
        """Follow the plant's file: what it says about policy and acceptance holds from the next task on.

        A file that cannot be read pauses the plant, since nobody knows what it was to say.
        """
        changed = self._last_change()
        if changed == self._written:
            return
        try:
            now = load_settings(self.settings.kit, self._known)
        except ConfigError as error:  # its text may quote the file
            self.folder.event("error", task="policy", error=str(error))
            raise RefusedError(f"its {FILE_NAME} was changed and cannot be read; mend it there") from error
        self.settings = self.settings.model_copy(update={"policy": now.policy, "acceptance": now.acceptance})
        self._policy, self._written = Policy.of(self.settings, self._known), changed
        self.folder.event("policy", **now.policy.model_dump())

    def _last_change(self) -> int:
        file = self.settings.kit / FILE_NAME
        return file.stat().st_mtime_ns if file.is_file() else 0

    def _offer(self, briefing: Briefing, kind: Kind) -> Offer:
        """Return how a kind of task is done here.

        Raises
        ------
        RefusedError
            If there are too few training rows, or a signal without which the answer says nothing is not allowed.
        ClientError
            If the plant does no such task; of what is not declared nothing would leave.
        """
        parts, offer = self._prepared(briefing), self._offers.get(kind)
        few = parts.num_training_rows < self._policy.minimum_rows
        if few and (offer is None or offer.about_rows):
            raise RefusedError(
                f"policy.minimum_rows is {self._policy.minimum_rows}, and there are {parts.num_training_rows} training "
                "rows here; nothing about so few rows leaves this plant"
            )
        if offer is None:
            known = ", ".join(self.kinds)
            raise ClientError(f"task kind must be one of {known}, got {kind.name!r}; update the plant's version")
        refusal = self._policy.refusal_of_signal(kind, parts.num_training_failures if kind.signal else 0)
        if refusal is not None:
            raise RefusedError(refusal)
        return offer

    def _check_schema(self, briefing: Briefing) -> None:
        """Refuse to add up what means something else here."""
        if briefing.schema is None:
            return
        odd = differences(self._prepared(briefing).table.schema, briefing.schema)
        if odd:
            raise ClientError(f"has another schema than the federation: {'; '.join(odd)}. Mend client.toml there")

    def _prepared(self, briefing: Briefing) -> Parts:
        """Return the parts for this briefing; the table is read once for a run."""
        last = self._parts
        if last is None or last.briefing.fingerprint != briefing.fingerprint:
            check_agreed(self.settings.kit, briefing.config)
            same_rows = last is not None and last.briefing.run == briefing.run
            table = last.table if last is not None and same_rows else self._read(briefing.config)
            self._parts = Parts(self.name, briefing, table)
        assert self._parts is not None  # noqa: S101 - set above
        return self._parts

    def _read(self, config: Config) -> Table:
        """Read the rows; what is wrong with them is told here and not to the server: it may quote them."""
        try:
            return read_plant_table(self.settings, config)
        except FederationError as error:
            self.folder.event("error", task="read", error=str(error))
            raise ClientError(
                "its rows do not fit the federation's columns; `werkbund client check` there says what to write"
            ) from error
