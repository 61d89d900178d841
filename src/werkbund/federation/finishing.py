"""What a finished run leaves behind: model, card, and the summary for programs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkbund.config.sections import Config
from werkbund.engine import write_atomically
from werkbund.federation.about import peak_memory_mb
from werkbund.federation.families.family import family_of
from werkbund.federation.folder import Folder, plain
from werkbund.federation.training import Trained
from werkbund.model import CardFacts, Model, card_markdown, load_model, model_card


@dataclass(frozen=True)
class Run:
    """Hold a finished run.

    Parameters
    ----------
    folder
        Where everything lies.
    summary
        What `--json` prints: run_dir, data, clients, rounds, parameters, seconds, metrics by contender, limits of the
        method in sentences, and more.
    """

    folder: Path
    summary: Mapping[str, Any]

    @property
    def report(self) -> Path:
        """The report, for people."""
        return self.folder / "report.html"

    @property
    def model(self) -> Model:
        """The model, ready to score tables in raw units."""
        return load_model(self.folder / "model")


def write_model(folder: Folder, model: Model, result: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Write the model and its card into a run's folder; return the card."""
    about = folder.read_json("run.json")
    evaluation = config.evaluation
    facts = CardFacts(
        name=about["name"],
        created=about["created"],
        data=about["data"],
        training={
            "clients": len(about["clients"]),
            "rounds": result["rounds"],
            "kept_round": result["best_round"],
            "seed": config.federation.seed,
            **family_of(config).facts(config),
        },
        metrics=result["metrics"],
        costs={"missed_failure": evaluation.missed_failure, "needless_inspection": evaluation.needless_inspection},
        limits=tuple(about.get("limits", ())),
    )
    model.save(folder.path / "model")
    write_atomically(folder.path / "model.onnx", model.to_onnx())
    card = model_card(model, facts)
    folder.write_json("model_card.json", card)
    write_atomically(folder.path / "model_card.md", card_markdown(card).encode())
    return card


def summary_of(folder: Folder, result: Mapping[str, Any], trained: Trained, began: float) -> dict[str, Any]:
    """Return what `--json` prints about a finished run."""
    about = folder.read_json("run.json")
    summary = {
        "run_dir": str(folder.path),
        "report": str(folder.path / "report.html"),
        "data": about["data"],
        "clients": len(about["clients"]),
        "rounds": trained.num_rounds,
        "kept_round": trained.kept_round,
        "stopped": trained.stopped,
        "parameters": folder.read_json("model_card.json")["model"]["parameters"],
        "seed": about["seed"],
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": peak_memory_mb(),
        "threshold": trained.threshold.probability,
        "metrics": result["metrics"],
        "limits": about.get("limits", []),
    }
    cleaned: dict[str, Any] = plain(summary)
    return cleaned
