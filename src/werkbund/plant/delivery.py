"""The model comes to the plant: judged on its own rows, taken or refused, kept beside the one before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from werkbund.core.arrays import Arrays, Float32Array
from werkbund.core.errors import FederationError
from werkbund.core.files import write_atomically
from werkbund.core.store import Store
from werkbund.core.types import Replies, Tasks
from werkbund.engine.personal import PERSONAL_MODEL
from werkbund.evaluation import Counts, Gate, Metrics, Threshold, metrics, own_threshold
from werkbund.federation.scoring import count_raw, reference_of
from werkbund.federation.wiring import costs_of
from werkbund.model import CardFacts, Model, card_markdown, load_model, model_card
from werkbund.plant.bins import in_wide_bins
from werkbund.plant.leaving import DELIVER
from werkbund.plant.parts import Parts
from werkbund.plant.policy import Policy
from werkbund.plant.settings import PlantSettings
from werkbund.plant.store import PlantFolder

PERSONAL, OFFERED_LATER, ALONE_LATER = "personal", "offered_later", "alone_later"
"""Names of figures: of the plant's own model where it has one; and in the later period of the model that is judged, and
of what the plant learns alone."""

_KEEPS = "this plant keeps what it learnt alone"


class Judged(NamedTuple):
    """Hold counts of held-out rows, the logits between their bins, and from where on a row is decided to fail."""

    counts: Arrays
    edges: Float32Array
    threshold: Threshold


@dataclass(frozen=True)
class Delivery:
    """Take in a model that the server sends.

    Parameters
    ----------
    settings
        Give the acceptance gate.
    folder
        Where models are kept.
    parts
        The plant's rows and the run's kind of model.
    policy
        Says how many held-out rows a bin of what leaves has at least.
    agreement
        Name of the one by which rows are divided: a model in use that came under another one may have been trained on
        rows that are held out now, and is not compared.
    """

    settings: PlantSettings
    folder: PlantFolder
    parts: Parts
    policy: Policy
    agreement: str = ""

    def deliver(self, tasks: Tasks, store: Store) -> Replies:
        """Judge a model against what the plant has, and keep it if it is not worse.

        Where the plant has made a model of its own of it in this run, that one is judged and kept. A plant that has no
        model yet has the one that it can train alone, of the same kind and with as much training, and that comes into
        use if the other is refused.
        """
        common = self._model(tasks)
        offered = self._own(tasks, store) or common
        judged, (accepted, reason), rival, what = self._judged(offered)
        judged |= {} if offered is common else {"offered": self._scored(common), PERSONAL: judged["offered"]}
        card = json.loads(str(tasks.shared["card"].ravel()[0]))
        judged |= self._later(offered) if _is_final(card) else {}
        here = {name: self._figures(scored).to_json() for name, scored in judged.items()}
        if not accepted and rival == "alone" and self.folder.current() is None:
            reason = f"{reason}; {_KEEPS}"
            self._keep(
                self._learnt_alone(),
                self._own_card(card) | {"here": {**here, "accepted": True, "reason": reason}},
                True,
            )
        self._keep(offered, card | {"here": {**here, "accepted": accepted, "reason": reason}}, accepted)
        told = {name: self._figures(self._told(scored)).to_json() for name, scored in judged.items()}
        why = reason if self.policy.minimum_bin_rows == 1 else f"judged by its own held-out rows, against {what}"
        clear = {
            "accepted": np.array([json.dumps({"accepted": accepted, "reason": why})]),
            "figures": np.array([json.dumps(told)]),
        }
        return Replies(DELIVER, tasks.round, tasks.clients, {}, clear)

    def _model(self, tasks: Tasks) -> Model:
        here, threshold = self.parts.simulation, float(tasks.shared["threshold"])
        return here.model(tasks.shared, threshold, self.parts.population.schema.label)

    def _own(self, tasks: Tasks, store: Store) -> Model | None:
        """Return the plant's own model of this run; None if it made none."""
        if not store.knows(PERSONAL_MODEL, tasks.clients).all():
            return None
        learnt = {"weights": store.rows(PERSONAL_MODEL, tasks.clients, np.empty(0, np.float32))[0]}
        simulation, common = self.parts.simulation, float(tasks.shared["threshold"])
        model = simulation.model(learnt, common, self.parts.population.schema.label)
        scored = self._scored(model, "validation")
        counts = Counts.from_arrays(scored.counts, edges=scored.edges)
        threshold = own_threshold(counts, scored.threshold, costs_of(simulation.config))
        return simulation.model(learnt, threshold.probability, self.parts.population.schema.label)

    def _judged(self, offered: Model) -> tuple[dict[str, Judged], tuple[bool, str], str, str]:
        """Return all scores, whether the model is taken and why, in exact figures, its rival and that in words."""
        gate = Gate(self.settings.acceptance.metric, self.settings.acceptance.tolerance)
        judged = {"offered": self._scored(offered), "alone": self._alone()}
        rival, what = "alone", self._what_alone()
        current = self.folder.current()
        if current is not None:
            try:
                fault = self._why_not_compared(current)
                judged |= {} if fault else {"present": self._scored(load_model(current / "model"))}
            except FederationError as error:  # it was damaged, or is of a federation with other columns
                self.folder.event("error", task=DELIVER.name, error=str(error))
                fault = "the model in use does not work"
            rival, what = ("alone", f"{what}; {fault}") if fault else ("present", "the model in use")
        first, second = (self._figures(judged[name]) for name in ("offered", rival))
        return judged, gate.verdict(first, second, what), rival, what

    def _why_not_compared(self, current: Path) -> str:
        """Return why the model in use is no rival; empty if it is one."""
        card = json.loads((current / "model_card.json").read_text(encoding="utf-8"))
        if card.get("agreement", self.agreement) == self.agreement:
            return ""
        return "the model in use may know rows that are held out by now"

    def _later(self, offered: Model) -> dict[str, Judged]:
        """Return the scores of the offered model and of the plant's own in the later period, where there is one."""
        if not len(self.parts.population.splits["later"].rows):
            return {}
        later = self._scored(offered, "later"), self._scored(self._learnt_alone(), "later")
        return dict(zip((OFFERED_LATER, ALONE_LATER), later, strict=True))

    def _learnt_alone(self) -> Model:
        trained, label = self.parts.trained_alone, self.parts.population.schema.label
        return self.parts.simulation.model(trained.learnt, trained.threshold.probability, label)

    def _own_card(self, offered: Mapping[str, Any]) -> dict[str, Any]:
        """Return the card of what the plant learnt alone, beside that of the model that was offered."""
        trained, now = self.parts.trained_alone, datetime.now(UTC).isoformat(timespec="seconds")
        training = {"clients": 1, "rounds": trained.num_rounds, "kept_round": trained.kept_round}
        limits = ("Learnt from the rows of this plant alone: the model that the federation offered did worse here.",)
        return model_card(self._learnt_alone(), CardFacts(str(offered["name"]), now, training=training, limits=limits))

    def _scored(self, model: Model, split: str = "test") -> Judged:
        """Return a model's counts and threshold; it may have another preparation than this run's."""
        population, threshold = self.parts.population, Threshold.of_probability(model.threshold_probability)
        counts, edges = count_raw(model, population.splits[split], population.schema, threshold)
        return Judged(counts, edges, threshold)

    def _alone(self) -> Judged:
        trained = self.parts.trained_alone
        return Judged(trained.counts["test"], trained.edges, trained.threshold)

    def _told(self, scored: Judged) -> Judged:
        """Return counts as they may leave."""
        return scored._replace(counts=in_wide_bins(scored.counts, self.policy.minimum_bin_rows, scored.edges))

    def _what_alone(self) -> str:
        trained, planned = self.parts.trained_alone, self.parts.simulation.num_rounds
        short = "stop.seconds" in trained.stopped
        return "what this plant learns alone" + (
            f", in {trained.num_rounds} of {planned} rounds for want of time" if short else ""
        )

    def _figures(self, scored: Judged) -> Metrics:
        simulation, counts = self.parts.simulation, Counts.from_arrays(scored.counts, edges=scored.edges)
        return metrics(counts, scored.threshold, costs_of(simulation.config), simulation.mode_names)

    def _keep(self, model: Model, card: dict[str, Any], accepted: bool) -> None:
        folder = self.folder.new_model_folder()
        model.save(folder / "model")
        write_atomically(folder / "model.onnx", model.to_onnx())
        reference_of(model, self.parts.population).write(folder)
        received = datetime.now(UTC).isoformat(timespec="seconds")
        _write_card(folder, card | {"received": received, "run": self.parts.briefing.run, "agreement": self.agreement})
        if accepted:
            self.folder.accept(folder)


def _is_final(card: dict[str, Any]) -> bool:
    """Say whether a card is of the model that a run ends with: a later period is looked at once."""
    return bool(card.get("training", {}).get("finished", True))


def _write_card(folder: Path, card: dict[str, Any]) -> None:
    write_atomically(folder / "model_card.json", (json.dumps(card, indent=1) + "\n").encode())
    write_atomically(folder / "model_card.md", card_markdown(card).encode())
