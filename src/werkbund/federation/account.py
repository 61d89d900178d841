"""What a run says of itself: before it begins, all that is needed to repeat it; at its end model, card and summary."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from werkbund._version import __version__
from werkbund.config.sections import Config
from werkbund.core.arrays import plain
from werkbund.core.files import write_atomically
from werkbund.data.checks import Finding
from werkbund.engine.summands import seen
from werkbund.evaluation import contributions
from werkbund.federation.families.contract import Setup
from werkbund.federation.families.family import family_of
from werkbund.federation.folder import Folder
from werkbund.federation.population import Division
from werkbund.federation.training import Trained
from werkbund.model import CardFacts, MembersModel, Model, card_markdown, load_model, model_card, write_several
from werkbund.partition import skew
from werkbund.report import run_html

_LIBRARIES = ("numpy", "polars", "scikit-learn", "onnx", "onnxruntime")


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

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the verdict, and all contenders on the plants' own rows."""
        return run_html(self.folder)


def about_run(
    name: str, setup: Setup, division: Division, findings: Sequence[Finding], command: Sequence[str]
) -> dict[str, Any]:
    """Return the content of run.json: all that is needed to understand the run and to repeat it."""
    table, config = division.table, setup.config
    labels = table.schema.labels(table.frame)
    modes, mode_names = table.schema.mode_flags(table.frame)
    features = setup.preparation.transform(table.frame)
    return {
        "name": name,
        **about_code(config, command),
        "data": {**table.origin.to_json(), "rows": table.num_rows, "positives": int(labels.sum())},
        "clients": division.population.names,
        "skew": skew(division.partition, labels, features, modes, mode_names).to_json(),
        **about_model(setup),
        "findings": [finding.to_json() for finding in findings],
    }


def about_code(config: Config, command: Sequence[str]) -> dict[str, Any]:
    """Return what decides a run beside its data: versions, seed, call, machine, methods and their limits."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "werkbund": __version__,
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "versions": {library: importlib.metadata.version(library) for library in _LIBRARIES},
        "seed": config.federation.seed,
        "command": list(command),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "citations": citations(config),
        "limits": family_of(config).limits(config),
        "server_sees": seen(family_of(config).asks(config), config.privacy.secure_sums),
    }


def about_model(setup: Setup) -> dict[str, Any]:
    """Return what is trained: fingerprint of the layout, number of parameters, features and their preparation."""
    return {
        "layout": {"fingerprint": setup.rules.fingerprint, "parameters": setup.num_parameters},
        "preparation": setup.preparation.fingerprint,
        "features": setup.preparation.feature_names,
    }


def citations(config: Config) -> list[dict[str, str]]:
    """Return the methods that this configuration uses, each with its source."""
    selection = config.strategy.selection
    used = family_of(config).citations(config)
    if config.privacy.secure_sums:
        used.append(("Secure sums", "Bonawitz et al., Practical Secure Aggregation, CCS 2017"))
    used.append(("Client selection", f"{selection.name}, fraction {selection.fraction:g}"))
    used.append(("Data set AI4I 2020", "Matzka, Explainable AI for Predictive Maintenance Applications, AI4I 2020"))
    if config.data.label is not None and (config.data.path is not None or config.data.clients):
        used.pop()
    return [{"what": what, "source": source} for what, source in used]


def peak_memory_mb() -> float:
    """Return the most memory that this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def write_models(
    folder: Folder, models: Sequence[MembersModel], result: Mapping[str, Any], config: Config
) -> list[dict[str, Any]]:
    """Write the first model with its card into a run's folder, and several beside it; return the card of each."""
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
    model = models[0].model
    model.save(folder.path / "model")
    write_atomically(folder.path / "model.onnx", model.to_onnx())
    if len(models) > 1:
        write_several(folder.path, models)
    cards = [model_card(one.model, facts) for one in models]
    folder.write_json("model_card.json", cards[0])
    write_atomically(folder.path / "model_card.md", card_markdown(cards[0]).encode())
    return cards


def with_contributions(result: Mapping[str, Any], folder: Folder, names: Sequence[str]) -> dict[str, Any]:
    """Return a run's result with what each client contributed over its rounds; as it is where that was not asked for.

    Parameters
    ----------
    result
        The content of result.json.
    folder
        The run's, with all rounds in it.
    names
        Of the clients.
    """
    rounds = folder.credits()
    if not rounds:
        return dict(result)
    clients = [{**asdict(one), "client": names[one.client]} for one in contributions(rounds)]
    told = {
        "rounds": len(rounds),
        "counted": sum(one["counted"] for one in rounds),
        "evaluations": sum(one["evaluations"] for one in rounds),
        "clients": clients,
    }
    return {**result, "contributions": told}


def summary_of(folder: Folder, result: Mapping[str, Any], trained: Trained, began: float) -> dict[str, Any]:
    """Return what `--json` prints about a finished run."""
    about = folder.read_json("run.json")
    summary = {
        **({"attack": result["attack"]} if "attack" in result else {}),
        **({"contributions": result["contributions"]} if "contributions" in result else {}),
        **({"clusters": result["clusters"]} if "clusters" in result else {}),
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
        "own_rows": result["own_rows"],
        "limits": about.get("limits", []),
    }
    cleaned: dict[str, Any] = plain(summary)
    return cleaned
