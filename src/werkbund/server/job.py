"""The main job over a network: the same rounds, the same run folder, and a model that comes to every plant."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from werkbund.aggregation.contract import half_of
from werkbund.config.sections import Config
from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.data import Schema
from werkbund.engine import Checkpoint
from werkbund.engine.clusters import model_of
from werkbund.engine.grid import Without
from werkbund.engine.secured import SecuredGrid
from werkbund.engine.word import most_held_out
from werkbund.evaluation import FEDERATED, GLOBAL, Costs, Summary, compare_periods, contest_of
from werkbund.evaluation.watch import Nobody, Watcher
from werkbund.federation.account import Run, about_code, about_model, summary_of, with_contributions, write_models
from werkbund.federation.attacked import refuse_attack
from werkbund.federation.clustered import members_models, with_clusters
from werkbund.federation.comparison import federated_only, result_of
from werkbund.federation.families.contract import Setup
from werkbund.federation.families.family import ClientKnowledge, family_of
from werkbund.federation.folder import Folder
from werkbund.federation.preparing import CommonPreparation, learn_preparation
from werkbund.federation.training import Outlets, Trained, train
from werkbund.federation.wiring import costs_of, strategy_of, sums_of
from werkbund.plant.briefing import BriefedGrid, Briefing, for_clients
from werkbund.plant.delivery import PERSONAL
from werkbund.plant.leaving import KINDS, asked_anyway, signals_asked
from werkbund.privacy.sums import Hub, Register
from werkbund.report import write_report
from werkbund.server.delivering import Delivered, Midway, OfferedModel, deliver
from werkbund.server.preflight import Preflight, least_bin_rows, preflight

Seen = Callable[[Preflight], None]

_MOST_HELD_OUT = 16  # no plant has as many times the training rows of all, held out or not


def run_deployed(
    config: Config,
    grid: BriefedGrid,
    *,
    plants: Path | None = None,
    folder: Folder | None = None,
    watcher: Watcher | None = None,
    seen: Seen | None = None,
    command: Sequence[str] = (),
) -> Run:
    """Run a federation whose clients are elsewhere.

    Parameters
    ----------
    config
        The federation's; where its data section says where rows lie, that is not looked at.
    grid
        Reaches the clients.
    plants
        Folder of all clients' public keys, for secure sums.
    folder
        The run's, new; None is a fresh one under `runs/`.
    watcher
        Who is told how it goes.
    seen
        Who is shown what clients said about themselves before the first round.
    command
        How it was called, for the report.

    Raises
    ------
    ConfigError
        If a section does not fit the model, the data or the folder.
    DataError
        If the rows cannot be read or learnt from.
    QuorumError
        If too few clients answer in a round.
    """
    began, watcher = time.perf_counter(), watcher or Nobody()
    refuse_attack(config)
    family_of(config).check(config)
    folder = folder or Folder.create(config.federation.name, None)
    with folder.in_use():
        return _run_in(folder, config, grid, plants, watcher, seen, command, began)


def _run_in(
    folder: Folder,
    config: Config,
    reached: BriefedGrid,
    plants: Path | None,
    watcher: Watcher,
    seen: Seen | None,
    command: Sequence[str],
    began: float,
) -> Run:
    folder.write_config(config)
    run = uuid.uuid4().hex
    grid = _asked(config, reached, run, plants)
    answers = _ask_about_themselves(config, grid, run, folder, watcher)
    if seen is not None:
        seen(answers)
    common = _learn(config, grid, run, answers, watcher)
    if common.refused or common.doubts:
        answers = answers.without(common.refused, common.missing).doubting(common.doubts)
        folder.write_json("preflight.json", answers.to_json())
        if seen is not None:
            seen(answers)
    known = ClientKnowledge(common, answers.schema, answers.mode_names, answers.least_cell_rows)
    folder.write_sealed("learnt.json", {"run": run, **known.to_json()})
    setup = _set_up(config, grid, run, known, None)
    about = _about(folder.path.name, setup, common, answers, command)
    folder.write_json("run.json", {**about, "config": folder.settings(), "id": run})
    return _train_and_finish(folder, setup, answers.schema, None, watcher, began)


def resume_deployed(path: Path, grid: BriefedGrid, watcher: Watcher | None = None, plants: Path | None = None) -> Run:
    """Go on with a run that was stopped, to the same result as if it had not been; see `run_deployed`.

    Raises
    ------
    CheckpointError
        If the folder cannot be continued.
    """
    began, watcher = time.perf_counter(), watcher or Nobody()
    folder = Folder.existing(path)
    with folder.in_use():
        return _gone_on_with(folder, grid, plants, watcher, began)


def _gone_on_with(folder: Folder, reached: BriefedGrid, plants: Path | None, watcher: Watcher, began: float) -> Run:
    about, learnt = folder.read_json("run.json"), folder.read_sealed("learnt.json")
    checkpoint = folder.load_checkpoint()
    grid = _asked(folder.read_config(), reached, learnt["run"], plants)
    if about["clients"] != list(grid.clients()):
        raise CheckpointError(
            f"clients were {', '.join(about['clients'])} when the run began and are {', '.join(grid.clients())} now; "
            "a client may be away but not struck off or added, because its number decides its draws. Start a new run"
        )
    folder.check_not_edited(about)
    known = ClientKnowledge.from_json(learnt)
    setup = _set_up(folder.read_config(), grid, learnt["run"], known, checkpoint)
    if about["layout"]["fingerprint"] != setup.rules.fingerprint:
        raise CheckpointError(
            f"the model's layout was {about['layout']['fingerprint']} when the run began, with Werkbund "
            f"{about['werkbund']}, and is {setup.rules.fingerprint} now; resume with that version, or start a new run"
        )
    folder.forget_rounds_after(checkpoint.round)
    return _train_and_finish(folder, setup, known.schema, checkpoint, watcher, began)


@dataclass
class _SecuredPlants(SecuredGrid):
    """Brief clients of whose answers sums alone are learnt."""

    reached: BriefedGrid | None = None

    def brief(self, tell: Callable[[int], Briefing]) -> None:
        """Set what each client must know from now on."""
        if self.reached is not None:
            self.reached.brief(tell)


def _asked(config: Config, grid: BriefedGrid, run: str, plants: Path | None) -> BriefedGrid:
    """Return what the clients are asked by: as they are reached, or for sums alone.

    Raises
    ------
    ConfigError
        If the keys of all clients, which secure sums need, are not there.
    """
    section, terms = config.privacy, sums_of(config)
    if terms is None:
        return grid
    if plants is None:
        raise ConfigError(
            "privacy.secure_sums must be false where the server knows no plants' keys; start it from a kit of "
            "`werkbund provision`, which has them in the folder plants"
        )
    register = Register.read(plants, section.colluding, section.strict)
    return _SecuredPlants(grid, Hub(register, run), whole=terms.whole, reached=grid)


def _public(config: Config) -> Config:
    """Return the configuration as clients are told it.

    Raises
    ------
    ConfigError
        If an aggregator of the server's own has a half at clients, which no plant runs.
    """
    rule, name = strategy_of(config).aggregator, config.strategy.aggregation.name
    if ":" in name and half_of(rule) is not None:
        raise ConfigError(
            f"strategy.aggregation.name must be a shipped rule where clients do more than train, got {name!r}, whose "
            "half at clients is code that no plant runs; run it in process"
        )
    return for_clients(config, rule.weighting)


def _ask_about_themselves(config: Config, grid: BriefedGrid, run: str, folder: Folder, watcher: Watcher) -> Preflight:
    watcher.stage(f"asking {len(grid.clients())} clients about themselves")
    public = _public(config)
    grid.brief(lambda number: Briefing(run, public, number))
    asked = _signals(config)
    answers = preflight(grid, config.federation.round_timeout_s, config.federation.quorum, asked)
    folder.write_json("preflight.json", answers.to_json())
    return answers


def _signals(config: Config) -> frozenset[str]:
    """Return the names of the signals that a run asks its clients for."""
    return signals_asked(KINDS, asked_anyway(family_of(config).asks(config)))


def _learn(config: Config, grid: BriefedGrid, run: str, answers: Preflight, watcher: Watcher) -> CommonPreparation:
    watcher.stage(f"learning the common scaling from {len(grid.clients())} clients' counts")
    public = _public(config)
    grid.brief(lambda number: Briefing(run, public, number, answers.mode_names, answers.schema))
    section, shares = config.federation, config.clients
    common = learn_preparation(grid, answers.schema, section.round_timeout_s, section.quorum)
    rows = [None if name not in answers.facts else answers.facts[name].rows for name in grid.clients()]
    told = np.array([math.nan if each is None else each for each in rows], np.float64)
    return replace(common, held_out=most_held_out(common.counted, told, shares.test, shares.validation))


def _set_up(config: Config, grid: BriefedGrid, run: str, known: ClientKnowledge, start: Checkpoint | None) -> Setup:
    """Brief the clients for training, and make the server's parts."""
    public, common = _public(config), known.common
    without, with_failure = common.survey.labels.tolist()

    def briefing(number: int) -> Briefing:
        labels = (without, with_failure)
        return Briefing(run, public, number, known.mode_names, known.schema, common.preparation, labels)

    grid.brief(briefing)
    if isinstance(grid, SecuredGrid):
        grid.most_rows = _MOST_HELD_OUT * max(without + with_failure, 1)
    left_out = {number: why for number, name in enumerate(grid.clients()) if (why := _why_left_out(common, name))}
    others = Without(grid, left_out) if left_out else grid
    return family_of(config).serve(config, known, others, start)


def _why_left_out(common: CommonPreparation, name: str) -> str:
    """Return why a client is left out of all rounds; empty for who is not."""
    return f"left out for what it said before the first round: {common.missing[name]}" if name in common.refused else ""


def _train_and_finish(
    folder: Folder, setup: Setup, schema: Schema, start: Checkpoint | None, watcher: Watcher, began: float
) -> Run:
    watcher.stage(f"training {setup.num_rounds} rounds")
    midway = Midway(folder, setup, schema.label)
    trained = train(setup, start, Outlets(watcher, midway.save, midway.note))
    names = setup.grid.clients()
    result = result_of(federated_only(setup, trained), trained, names, time.perf_counter() - began)
    models = members_models(setup, trained, schema.label)
    cards = write_models(folder, models, result, setup.config)
    watcher.stage(f"delivering the model to {len(names)} clients")
    timeout_s = setup.config.federation.round_timeout_s
    delivered = dict[str, Delivered]()
    for one, card in zip(models, cards, strict=True):
        clients = np.array([names.index(name) for name in one.clients])
        offer = OfferedModel(
            model_of(trained.learnt, int(clients[0])), one.model.threshold_probability, card, trained.num_rounds + 1
        )
        delivered |= deliver(setup.grid, offer, timeout_s, clients)
    result = with_clusters(with_contributions(result, folder, names), trained, names)
    folder.write_json("result.json", _with_verdicts(result, delivered, costs_of(setup.config)))
    watcher.stage("writing the report")
    write_report(folder.path)
    return Run(folder.path, _summary(folder, result, trained, delivered, began))


def _with_verdicts(result: Mapping[str, Any], delivered: Mapping[str, Delivered], costs: Costs) -> dict[str, Any]:
    """Add what each client found when the model came, what it learns alone on its own rows, and the contest of both."""
    lines = []
    for line in result["per_client"]:
        verdict = delivered.get(line["name"])
        local = verdict.figures.get("alone") if verdict is not None else None
        lines.append({**line, "local": local})
    verdicts = {name: vars(verdict) for name, verdict in delivered.items()}
    told = [_told(line, delivered[line["name"]].figures) for line in lines if line["name"] in delivered]
    known = [summary for summary in told if summary is not None]
    contest = contest_of(known, costs).to_json() if known else None
    periods = compare_periods([verdict.periods(name) for name, verdict in delivered.items()])
    later = {"later": periods} if periods["clients"] else {}
    return {**result, "per_client": lines, "delivered": verdicts, "own_rows": contest, **later}


def _told(line: Mapping[str, Any], figures: Mapping[str, Mapping[str, Any]]) -> Summary | None:
    """Return what a plant told of its own rows, as far as it can be true; None if it told nothing.

    Rows and failures are those of its counts, which were held to its word.
    """
    if "offered" not in figures or not line["rows"]:
        return None
    judged = ((PERSONAL, FEDERATED), ("offered", GLOBAL)) if PERSONAL in figures else (("offered", FEDERATED),)
    words = (*judged, ("alone", "local_mean"))
    own = {
        who: {
            "average_precision": _within(figures[word], "average_precision", 1.0),
            "cost": _within(figures[word], "cost"),
            **({"rmse": _within(figures[word], "rmse")} if figures[word].get("rmse") is not None else {}),
        }
        for word, who in words
        if word in figures
    }
    return Summary(line["name"], int(line["rows"]), int(line["positives"]), own)


def _within(figures: Mapping[str, Any], name: str, most: float = math.inf) -> float:
    """Return a figure that is at least 0 and at most so much; NaN where it is neither that nor known."""
    value = figures.get(name)
    return float(value) if value is not None and 0 <= value <= most else math.nan


def _summary(
    folder: Folder, result: Mapping[str, Any], trained: Trained, delivered: Mapping[str, Delivered], began: float
) -> dict[str, Any]:
    verdicts = {name: {"accepted": verdict.accepted, "reason": verdict.reason} for name, verdict in delivered.items()}
    return {**summary_of(folder, result, trained, began), "delivered": verdicts}


def _about(
    name: str, setup: Setup, common: CommonPreparation, answers: Preflight, command: Sequence[str]
) -> dict[str, Any]:
    """Return the content of run.json, as far as the clients tell."""
    names, asked = setup.grid.clients(), _signals(setup.config)
    without, with_failure = common.survey.labels.tolist()
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
        for check in answers.checks
        if check.level != "ok"
    ]
    return {
        "name": name,
        **about_code(setup.config, command),
        "data": data,
        "clients": names,
        "plants": [_plant(name, answers, asked) for name in names],
        **about_model(setup),
        "findings": findings,
        "absent": {**setup.absent, **common.missing},
    }


def _plant(name: str, answers: Preflight, asked: Collection[str]) -> dict[str, Any]:
    """Return what a client said about itself that the report shows, and which signals of those asked it refuses."""
    facts = answers.facts.get(name)
    if facts is None:
        return {"name": name, "werkbund": None, "rows": None, "refused": [], "bin_rows": None}
    refused = [signal for signal in facts.policy.get("refused") or [] if signal in asked]
    told = {"werkbund": facts.versions.get("werkbund"), "rows": facts.rows, "bin_rows": least_bin_rows(facts)}
    return {"name": name, **told, "refused": refused}
