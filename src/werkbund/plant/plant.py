"""A plant at work: asked by the server, bound by its own policy, with rows that stay where they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from werkbund.core.errors import ClientError, ConfigError
from werkbund.core.kinds import Kind, by_name
from werkbund.core.store import Store
from werkbund.core.types import Replies, Tasks
from werkbund.engine import Handler
from werkbund.engine.masking import as_told, masked_kind, without_sums
from werkbund.engine.summands import is_summed
from werkbund.federation.wiring import promise_of
from werkbund.plant.agreed import RefusedError
from werkbund.plant.briefing import Briefing
from werkbund.plant.budget import AnswerBudget
from werkbund.plant.leaving import cut_down, signals_of
from werkbund.plant.ledger import PlantLedger, charge_of
from werkbund.plant.offers import OFFERS, Offer, Plot, kinds_of
from werkbund.plant.parts import Parts
from werkbund.plant.policy import Policy
from werkbund.plant.question import Draws, as_taken
from werkbund.plant.rows import PlantRows
from werkbund.plant.settings import FILE_NAME, PlantSettings, load_settings
from werkbund.plant.source import read_plant_table
from werkbund.plant.spending import Spending
from werkbund.plant.store import PlantFolder
from werkbund.plant.sums import PlantSums

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
        self._rows = PlantRows(folder, lambda settings, config: read_plant_table(settings, config))
        self._budget, self._spending = AnswerBudget(folder.path), Spending(folder.path)
        self._sums = PlantSums(settings, folder.path)
        self.ledger = PlantLedger(lambda: self.settings, folder.path, self._clock)

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
        try:
            return self._answered(briefing, tasks)
        except RefusedError:
            self._budget.count_refusal(tasks.kind, self._clock())
            raise

    def _answered(self, briefing: Briefing, tasks: Tasks) -> Replies:
        self._read_policy_again()
        policy, now = self._policy, self._clock()
        under_way = tasks.kind.staged and self._budget.is_under_way(briefing.run, tasks.round)
        refusal = policy.refusal(tasks.kind, now, self.folder.counters(), under_way)
        if refusal is not None:
            raise RefusedError(refusal)
        parts = self._rows.parts(briefing, self.settings, policy, now)
        offer, config = self._offer(parts, tasks.kind), parts.briefing.config
        kind = masked_kind(offer.kind) if config.privacy.secure_sums and is_summed(offer.kind) else offer.kind
        taken = as_taken(replace(as_told(tasks), kind=kind), policy, parts.num_training_rows, self._draws(parts, tasks))
        if offer.is_budgeted:
            self._spend(without_sums(tasks), briefing.run, now)
        if offer.about_rows:
            self._spend_privacy(tasks, parts)
        plot = Plot(self.settings, self.folder, policy, parts, now, self._rows.divided.agreement.name)
        store = self.folder.notes.open(briefing.run, tasks.round, tasks.kind.trains and not under_way)
        answers = _answers(offer, plot)
        if config.privacy.secure_sums:
            version = self._rows.divided.dealt.version
            answers = self._sums.masking(briefing.run, config, version).around({offer.kind: answers})[offer.kind]
        replies = answers(replace(taken, kind=offer.kind, clients=np.zeros(1, np.int64)), store)
        store.save()
        self._sums.save()
        if tasks.kind.trains and not under_way:
            self.folder.count_round(now)
        return replace(replies, kind=kind, clients=tasks.clients)

    def charged(self, kind: Kind) -> dict[str, Any]:
        """Return what the last answer, of this kind, costs of what its run promised, for the ledger."""
        parts = self._rows.latest
        return charge_of(parts.briefing.config, kind, parts.num_training_rows) if parts and kind.updates else {}

    def _spend(self, tasks: Tasks, run: str, now: datetime) -> None:
        """Count a question before it is answered.

        Raises
        ------
        RefusedError
            If a budget is used up, or the question was answered in another form about the same rows.
        """
        budget, version = self._budget, self._rows.divided.dealt.version
        refusal = self._policy.refusal_of_budget(tasks.kind, budget.answered(now), budget.answered_about(version))
        if refusal is None and budget.is_another(tasks, version):
            refusal = (
                f"a {tasks.kind} task was answered about these rows in another form already; two answers would be "
                "about groups of rows that differ little"
            )
        if refusal is not None:
            raise RefusedError(refusal)
        budget.count(tasks, run, version, now)

    def _spend_privacy(self, tasks: Tasks, parts: Parts) -> None:
        """Count what training tells of rows, before it is done.

        Raises
        ------
        RefusedError
            If the plant's budget or the run's promise would be exceeded, or a run promises nothing where there is one.
        """
        promise, rows, run = promise_of(parts.briefing.config), parts.num_training_rows, parts.briefing.run
        if tasks.kind.trains or (promise is None and self._policy.epsilon is not None):
            if refusal := self._spending.refusal(promise, rows, run, self._policy):
                raise RefusedError(refusal)
            if tasks.kind.trains:
                self._spending.charge(promise, rows, run)

    def _draws(self, parts: Parts, tasks: Tasks) -> Draws | None:
        """Return by whose stream rows are drawn: its own, unless the plant's file says otherwise."""
        if self._policy.draws != "own":
            return None
        config = parts.briefing.config
        how = [config.training.model_dump(), config.trees.model_dump(), config.model.model_dump()]
        digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()
        divided, samples = self._rows.divided, any(field.sample for field in tasks.kind.request)
        # Samples of some rows are the first of one order, so that two of them differ in whole multiples of the minimum.
        purpose = divided.dealt.version if samples else f"{parts.briefing.run}/{tasks.round}/{digest}"
        return Draws(divided.agreement.stream, purpose)

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
        minima = (policy.minimum_rows, policy.minimum_failures, policy.minimum_bin_rows, policy.minimum_cell_rows)
        return f"{task_id} {sorted(policy.signals)} {minima}"

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
        self.settings = self.settings.model_copy(
            update={"policy": now.policy, "bounds": now.bounds, "acceptance": now.acceptance}
        )
        self._policy, self._written = Policy.of(self.settings, self._known), changed
        self.ledger.note_policy()

    def _last_change(self) -> int:
        file = self.settings.kit / FILE_NAME
        return file.stat().st_mtime_ns if file.is_file() else 0

    def _offer(self, parts: Parts, kind: Kind) -> Offer:
        """Return how a kind of task is done here.

        Raises
        ------
        RefusedError
            If there are too few training rows, or a signal without which the answer says nothing is not allowed.
        ClientError
            If the plant does no such task; of what is not declared nothing would leave.
        """
        offer = self._offers.get(kind)
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


def _answers(offer: Offer, plot: Plot) -> Handler:
    """Return what does a kind of task here; what leaves is what the offered kind declares, whoever does the work."""

    def answers(tasks: Tasks, store: Store) -> Replies:
        replies = replace(offer.handler(plot)(tasks, store), kind=offer.kind)
        return cut_down(offer.withheld(tasks, replies, plot.policy, plot.parts), plot.policy.signals)

    return answers
