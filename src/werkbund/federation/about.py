"""What a run writes about itself before it begins: all that is needed to understand it and to repeat it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from werkbund._version import __version__
from werkbund.config.sections import Config
from werkbund.data.checks import Finding
from werkbund.federation.families.contract import Setup
from werkbund.federation.families.family import family_of
from werkbund.federation.population import Division
from werkbund.partition import skew

_LIBRARIES = ("numpy", "polars", "scikit-learn", "onnx", "onnxruntime")


def about_run(
    name: str, setup: Setup, division: Division, findings: Sequence[Finding], command: Sequence[str]
) -> dict[str, Any]:
    """Return the content of run.json."""
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
    }


def about_model(setup: Setup) -> dict[str, Any]:
    """Return what is trained."""
    return {
        "layout": {"fingerprint": setup.rules.fingerprint, "parameters": setup.num_parameters},
        "preparation": setup.preparation.fingerprint,
        "features": setup.preparation.feature_names,
    }


def citations(config: Config) -> list[dict[str, str]]:
    """Return the methods that this configuration uses, each with its source."""
    selection = config.strategy.selection
    used = family_of(config).citations(config)
    used.append(("Client selection", f"{selection.name}, fraction {selection.fraction:g}"))
    used.append(("Data set AI4I 2020", "Matzka, Explainable AI for Predictive Maintenance Applications, AI4I 2020"))
    if config.data.label is not None and (config.data.path is not None or config.data.clients):
        used.pop()
    return [{"what": what, "source": source} for what, source in used]


def peak_memory_mb() -> float:
    """Return the most memory that this process has held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
