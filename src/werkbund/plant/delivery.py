"""The model comes to the plant: judged on its own rows, taken or refused, kept beside the one before it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from werkbund.core.arrays import Arrays
from werkbund.core.errors import FederationError
from werkbund.core.files import write_atomically
from werkbund.core.types import Replies, Tasks
from werkbund.evaluation import Counts, Gate, Metrics, Threshold, metrics
from werkbund.federation.wiring import costs_of
from werkbund.learner import count_scores
from werkbund.model import Model, card_markdown, load_model
from werkbund.plant.leaving import DELIVER
from werkbund.plant.parts import Parts
from werkbund.plant.settings import PlantSettings
from werkbund.plant.store import PlantFolder


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
    """

    settings: PlantSettings
    folder: PlantFolder
    parts: Parts

    def deliver(self, tasks: Tasks) -> Replies:
        """Judge a model against what the plant has, and keep it if it is not worse.

        A plant that has no model yet has the one that it can train alone, of the same kind and with as much training.
        """
        offered = self._model(tasks)
        figures, verdict = self._judged(offered)
        accepted, reason = verdict
        card = json.loads(str(tasks.shared["card"].ravel()[0]))
        self._keep(offered, card | {"here": {**figures, "accepted": accepted, "reason": reason}}, accepted)
        clear = {
            "accepted": np.array([json.dumps({"accepted": accepted, "reason": reason})]),
            "figures": np.array([json.dumps(figures)]),
        }
        return Replies(DELIVER, tasks.round, tasks.clients, {}, clear)

    def _model(self, tasks: Tasks) -> Model:
        here, threshold = self.parts.simulation, float(tasks.shared["threshold"])
        return here.model(tasks.shared, threshold, self.parts.population.schema.label)

    def _judged(self, offered: Model) -> tuple[dict[str, Any], tuple[bool, str]]:
        gate = Gate(self.settings.acceptance.metric, self.settings.acceptance.tolerance)
        here, alone = self._metrics(offered), self._alone()
        figures = {"offered": here.to_json(), "alone": alone.to_json()}
        current = self.folder.current()
        if current is None:
            return figures, gate.verdict(here, alone, self._what_alone())
        try:
            present = self._metrics(load_model(current / "model"))
        except FederationError as error:  # it was damaged, or is of a federation with other columns
            self.folder.event("error", task=DELIVER.name, error=str(error))
            return figures, gate.verdict(here, alone, f"{self._what_alone()}; the model in use does not work")
        return figures | {"present": present.to_json()}, gate.verdict(here, present, "the model in use")

    def _metrics(self, model: Model) -> Metrics:
        """Return a model's figures on the held-out rows here; it may have another preparation than this run's."""
        test = self.parts.population.splits["test"]
        frame = test.frame[test.rows]
        table = self.parts.simulation.splits.test
        counts = count_scores(model.logits(frame), table.labels, table.modes, table.offsets)
        return self._figures({name: array[0:1] for name, array in counts.items()}, model.threshold_probability)

    def _alone(self) -> Metrics:
        trained = self.parts.trained_alone
        return self._figures(trained.counts["test"], trained.threshold.probability)

    def _what_alone(self) -> str:
        trained, planned = self.parts.trained_alone, self.parts.simulation.num_rounds
        short = "stop.seconds" in trained.stopped
        return "what this plant learns alone" + (
            f", in {trained.num_rounds} of {planned} rounds for want of time" if short else ""
        )

    def _figures(self, counts: Arrays, probability: float) -> Metrics:
        simulation = self.parts.simulation
        threshold = Threshold.nearest(probability)
        return metrics(Counts.from_arrays(counts), threshold, costs_of(simulation.config), simulation.mode_names)

    def _keep(self, model: Model, card: dict[str, Any], accepted: bool) -> None:
        folder = self.folder.new_model_folder()
        model.save(folder / "model")
        write_atomically(folder / "model.onnx", model.to_onnx())
        received = datetime.now(UTC).isoformat(timespec="seconds")
        _write_card(folder, card | {"received": received, "run": self.parts.briefing.run})
        if accepted:
            self.folder.accept(folder)


def _write_card(folder: Path, card: dict[str, Any]) -> None:
    write_atomically(folder / "model_card.json", (json.dumps(card, indent=1) + "\n").encode())
    write_atomically(folder / "model_card.md", card_markdown(card).encode())
