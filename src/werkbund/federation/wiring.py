"""From the sections of a configuration to the parts of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
from torch import nn

from werkbund.aggregation import build_aggregator
from werkbund.aggregation.contract import check_training
from werkbund.aggregation.nova import ACCUMULATION
from werkbund.attack import build_attack
from werkbund.attack.answering import Scenario
from werkbund.attack.population import drawn_scenario
from werkbund.config.sections import Config, ModelSection, TrainingSection
from werkbund.core.arrays import AnyArray, Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ConfigError, ModelError
from werkbund.core.rng import derived_seed
from werkbund.core.target import FAILURE, Target, loss_of
from werkbund.engine import RateSchedule, Rules, Strategy, SumTerms
from werkbund.engine.pacing import Pace
from werkbund.engine.promise import Promise, check_promise
from werkbund.engine.state import Added
from werkbund.engine.summands import USUAL_ROWS
from werkbund.evaluation import Costs, edges_after
from werkbund.evaluation.stopping import AllRounds, Budget, EarlyStop, PrivacyBudget, StopRule, Tally, TargetReached
from werkbund.learner import CohortTrainer, LocalObjective, ModelSpec, TrainingPlan, build_network
from werkbund.learner.batches import num_steps
from werkbund.learner.counts import count_shapes
from werkbund.learner.plan import accumulations
from werkbund.privacy import Stack
from werkbund.selection import Selector, build_selector

WEIGHTS = "weights"
"""The name of what a network learns, in a message."""
_NO_ROWS = np.empty(0)
_MLP, _RESIDUAL = {"hidden", "activation", "dropout"}, {"width", "depth", "activation", "dropout"}
_SHIPPED_OPTIONS = {"logistic": set(), "mlp": _MLP, "residual-mlp": _RESIDUAL}


def model_spec(model: ModelSection) -> ModelSpec:
    """Return which network to build.

    Raises
    ------
    ConfigError
        If an option does not belong to the network.
    """
    keys = ("hidden", "activation", "dropout", "width", "depth")
    given = {key: getattr(model, key) for key in keys if getattr(model, key) is not None}
    allowed = _SHIPPED_OPTIONS.get(model.kind)
    if allowed is not None:
        for key in [*given, *model.options]:
            if key not in allowed:
                takes = ", ".join(f"model.{name}" for name in sorted(allowed)) or "no option"
                raise ConfigError(f"model.{key} is no option of model.kind = {model.kind!r}, which takes {takes}")
    return ModelSpec(model.kind, {**given, **model.options})


def training_plan(training: TrainingSection, labels: Int64Array, target: Target = FAILURE) -> TrainingPlan:
    """Return how clients train; the weight of failures may follow the federation's `labels` (2,): rows by class."""
    ratio = float(labels[0] / max(int(labels[1]), 1)) or 1.0
    chosen = training.positive_weight
    named = {"none": 1.0, "sqrt": math.sqrt(ratio), "balanced": ratio}
    weight = named[chosen] if isinstance(chosen, str) else float(chosen)
    return TrainingPlan(
        optimizer=training.optimizer,
        learning_rate=float(training.learning_rate),
        momentum=float(training.momentum),
        weight_decay=float(training.weight_decay),
        epochs=training.epochs,
        steps=training.steps,
        batch_size=training.batch_size,
        clip_norm=training.clip_norm,
        positive_weight=weight,
        proximal=float(training.proximal),
        loss=loss_of(target),
    )


def network_of(config: Config, num_features: int) -> tuple[ModelSpec, nn.Module]:
    """Return the specification of the network, and the network with random weights drawn by the run's seed."""
    spec = model_spec(config.model)
    seed = derived_seed(config.federation.seed, "initial weights")
    return spec, build_network(spec, num_features, seed)


def trainer_of(
    config: Config, network: nn.Module, num_features: int, labels: Int64Array, target: Target
) -> CohortTrainer:
    """Return what trains clients and scores rows; `labels` (2,) are the rows of all clients by class."""
    training, plan = config.training, training_plan(config.training, labels, target)
    promise = Promise.of(config.privacy, plan, config.federation.rounds)
    objective = LocalObjective() if promise is None else promise.objective
    return CohortTrainer(network, plan, num_features, training.batched, training.compiled, objective)


def weights_in(learnt: Arrays) -> Float32Array:
    """Return the weights (parameters,) among named arrays.

    Raises
    ------
    ModelError
        If there are none.
    """
    if WEIGHTS not in learnt:
        raise ModelError(f"a network's arrays must hold {WEIGHTS}, got {', '.join(learnt) or 'none'}")
    return learnt[WEIGHTS]


def selector_of(config: Config) -> Selector:
    """Return who trains."""
    section = config.strategy.selection
    return build_selector(section.name, fraction=float(section.fraction), count=section.count, **section.options)


def strategy_of(config: Config) -> Strategy:
    """Return who trains and how updates become weights.

    Raises
    ------
    ConfigError
        If a method is none, an option breaks its rule, or clients train as the aggregation cannot use it.
    """
    aggregation = config.strategy.aggregation
    clip = None if aggregation.clip_norm is None else float(aggregation.clip_norm)
    rule = build_aggregator(aggregation.name, **aggregation.options)
    check_training(rule, config.training)
    selector, promise, stack = selector_of(config), promise_of(config), Stack()
    if promise:
        check_promise(promise, selector, rule)
        stack, rule = promise.stack(config.federation.seed, _schedule(config)), promise.bounding(rule)
    pace, personal = Pace(**config.strategy.pace.model_dump()), config.strategy.personal.plan
    sums = sums_of(config)
    return Strategy(selector, rule, stack, clip_norm=clip, pace=pace, personal=personal, secure_sums=sums)


def promise_of(config: Config) -> Promise | None:
    """Return what a run promises of a unit; None where it promises nothing."""
    plan = training_plan(config.training, np.zeros(2, np.int64))  # whose weight of failures follows no counts then
    return Promise.of(config.privacy, plan, config.federation.rounds)


def rules_of(config: Config, fingerprint: str, facts: Arrays, num_modes: int, target: Target) -> Rules:
    """Return the rules of every round: seed, quorum, time-out, schedule, who evaluates and what is counted."""
    section = config.federation
    return Rules(
        section.seed,
        float(section.quorum),
        float(section.round_timeout_s),
        fingerprint,
        config.evaluation.clients,
        facts,
        _schedule(config),
        count_shapes(num_modes, target),
        refine=edges_after,
        secure_sums=config.privacy.secure_sums,
    )


def _schedule(config: Config) -> RateSchedule:
    return RateSchedule(config.training.schedule, config.federation.rounds)


def sums_of(config: Config, rows: Sequence[Int64Array] = ()) -> SumTerms | None:
    """Return how clients in process make sums; None where the server sees all. `rows` (clients,) of each split."""
    section, most = config.privacy, max((int(each.max(initial=1)) for each in rows), default=USUAL_ROWS)
    if not section.secure_sums:
        return None
    promise = promise_of(config)
    share = promise.share if promise else None
    return SumTerms(config.federation.name, section.colluding, section.strict, most, share)


def scenario_of(config: Config, names: tuple[str, ...]) -> Scenario | None:
    """Return who attacks how among clients of these names; None where nobody does."""
    section = config.attack
    if section.kind == "none":
        return None
    attack = build_attack(section.kind, section.options)
    who = section.clients or float(section.share)
    return drawn_scenario(attack, names, who, section.from_round, config.federation.seed)


def added_of(config: Config, labels: Int64Array) -> Mapping[str, Added]:
    """Return what clients of so many training rows add to their updates, as far as the server can tell."""
    plan = training_plan(config.training, labels)

    def accumulated(rows: Float64Array, rate: float) -> Float64Array:
        own = replace(plan, learning_rate=plan.learning_rate * rate)
        return accumulations(own, num_steps(rows.astype(np.int64), own))

    return {ACCUMULATION.name: accumulated}


def costs_of(config: Config) -> Costs:
    """Return the prices of wrong decisions."""
    return Costs(float(config.evaluation.missed_failure), float(config.evaluation.needless_inspection))


def stop_rules(
    config: Config, num_rounds: int | None = None, rows: AnyArray = _NO_ROWS, names: Sequence[str] = ()
) -> tuple[StopRule, ...]:
    """Return the rules that a configuration sets; any one of them ends the training.

    Parameters
    ----------
    config
        Sets them.
    num_rounds
        Rounds that are planned; as the configuration says if left out.
    rows, names
        Training rows and name of each client; a budget of privacy is counted for those whose rows are known.
    """
    section, metric = config.federation, config.evaluation.metric
    rules: list[StopRule] = [EarlyStop(section.patience, metric)] if section.patience else []
    if config.stop.target is not None:
        rules.append(TargetReached(float(config.stop.target), metric))
    limits = {field.name: getattr(config.stop, field.name) for field in fields(Tally)}
    rules += [Budget(what, float(most)) for what, most in limits.items() if most is not None]
    rules.append(AllRounds(num_rounds or section.rounds))
    promise = promise_of(config)
    if promise and promise.target is not None:
        rules.append(PrivacyBudget(promise.most_trainings(rows), names, promise.target))
    return tuple(rules)
