"""What a run over a network writes about itself before it begins, as far as its clients tell."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from werkbund.federation.about import about_code, about_model
from werkbund.federation.families.contract import Setup
from werkbund.federation.families.family import family_of
from werkbund.federation.preparing import Learnt
from werkbund.plant.leaving import signals_asked
from werkbund.server.preflight import Preflight


def about_deployed(name: str, setup: Setup, learnt: Learnt, told: Preflight, command: Sequence[str]) -> dict[str, Any]:
    """Return the content of run.json."""
    names, asked = setup.grid.clients(), signals_asked(family_of(setup.config).asks(setup.config))
    without, with_failure = learnt.survey.labels.tolist()
    data = {
        "source": "clients",
        "path": None,
        "sha256": None,
        "note": f"Rows of {len(names)} clients, each at its own place; counted are training rows.",
        "rows": without + with_failure,
        "positives": with_failure,
    }
    findings = [
        {"level": check.level, "column": check.client, "message": f"{check.what}. {check.remedy}".strip()}
        for check in told.checks
        if check.level != "ok"
    ]
    return {
        "name": name,
        **about_code(setup.config, command),
        "data": data,
        "clients": names,
        "plants": [_plant(name, told, asked) for name in names],
        **about_model(setup),
        "findings": findings,
        "absent": {**setup.absent, **learnt.missing},
    }


def _plant(name: str, told: Preflight, asked: Collection[str]) -> dict[str, Any]:
    """Return what a client told about itself that the report shows, and which signals of those asked it refuses."""
    facts = told.facts.get(name)
    if facts is None:
        return {"name": name, "werkbund": None, "rows": None, "refused": []}
    refused = [one for one in facts.policy.get("refused") or [] if one in asked]
    return {"name": name, "werkbund": facts.versions.get("werkbund"), "rows": facts.rows, "refused": refused}
