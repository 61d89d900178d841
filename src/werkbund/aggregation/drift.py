"""Rules that take away what clients drift apart in their steps: each keeps at a client what its own rows pull towards.

What a client keeps counts from when the server has taken its answer, so that both sides of a sum stay equal whatever
is lost on the way. Both rules change a client's step alone, by a correction of its gradient and a pull to the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from werkbund.aggregation.contract import (
    CORRECTION,
    POPULATION,
    PULL,
    ROWS,
    Card,
    Carry,
    Closing,
    Counting,
    LocalResult,
    LocalTraining,
    Weighting,
)
from werkbund.aggregation.sums import SumRule, Sums, moved
from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.defaults import MOST_FORGOTTEN
from werkbund.core.errors import ClientError, ConfigError, FederationError
from werkbund.core.kinds import Field
from werkbund.core.methods import option
from werkbund.core.store import Store

_CONTROL, _OWN, _CHANGE = "control", "own control", "control_change"
_SUMMED = "summed updates"

CONTROL_CHANGE = Field(
    "sums",
    _CHANGE,
    "change of the plant's control variate, times its rows unless all count alike",
    ("parameters",),
    "f4",
    on_request=True,
)
"""What SCAFFOLD folds beside an update."""


@dataclass(frozen=True)
class ScaffoldHalf:
    """Correct a client's steps by the server's control variate minus its own, and renew its own.

    Parameters
    ----------
    renewal
        `steps`: the mean gradient of the steps that were taken (option II); `gradient`: that of all rows at the weights
        that came (option I).
    weighting
        Whether a change counts by rows.
    """

    renewal: str
    weighting: Counting

    weighted: ClassVar[tuple[str, ...]] = ()
    keeps: ClassVar[bool] = True

    def before(self, sent: Arrays, clients: Int64Array, store: Store) -> Arrays:
        """Return the correction of each client, (clients, parameters)."""
        control = sent[_CONTROL]
        own = store.rows(_OWN, clients, np.zeros_like(control))
        return {CORRECTION: np.subtract(control, own, out=own)}

    def after(self, sent: Arrays, result: LocalResult, clients: Int64Array, store: Store) -> Arrays:
        """Keep the new control variates, and return how they changed; a client without rows changes nothing."""
        own = store.rows(_OWN, clients, np.zeros_like(result.update[0]))
        renewed, rests = self._renewed(sent[CORRECTION], result), result.steps == 0
        renewed[rests] = own[rests]
        store.put(_OWN, clients, renewed)
        change = np.subtract(renewed, own, out=own)  # in place: these are as large as all updates
        if self.weighting == "examples":
            change *= result.rows[:, None].astype(np.float32)
        return {_CHANGE: change}

    def _renewed(self, correction: Float32Array, result: LocalResult) -> Float32Array:
        if self.renewal == "gradient":
            return result.gradient()
        ways = np.maximum(result.steps, 1) * result.learning_rate
        renewed: Float32Array = result.update * (-1 / ways)[:, None].astype(np.float32)
        renewed -= correction
        return renewed


@dataclass(frozen=True)
class Scaffold(SumRule):
    """Move the weights by the mean update of steps that are corrected by control variates.

    Clients step along g - c_i + c; c_i is a client's own control variate and c the server's, all zero at first. Then
    weights <- weights + step * mean update, and c <- c + sum of P_i * change of c_i, where P_i is a client's share of
    all rows, or one over all clients. So c is the weighted mean of the c_i of all clients, asked or not.

    Parameters
    ----------
    weighting
        `examples`: a client counts by its number of training rows; `equal`: all clients alike.
    step
        Size of the server's step.
    renewal
        How a client's control variate is renewed: `steps`, from the steps it took (option II); or `gradient`, from one
        pass over all its rows at the weights that came (option I).

    References
    ----------
    Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020, algorithm 1.
    Weights P_i in both sums are ours, and so is the rule that a client's new control variate counts once its answer was
    taken. The gradient is corrected before it is clipped.
    """

    weighting: Counting = option("examples", "How clients weigh: examples, by their rows; or equal, all alike.")
    step: float = option(1.0, "Size of the server's step.", above=0)
    renewal: Literal["steps", "gradient"] = option(
        "steps", "Control variates are renewed from the steps taken, or from a gradient over all rows."
    )

    name: ClassVar[str] = "scaffold"
    folds: ClassVar[tuple[str, ...]] = (CONTROL_CHANGE.name,)
    card: ClassVar[Card] = Card(
        title="SCAFFOLD: steps corrected by control variates",
        rule=(
            "Each client steps along its gradient minus its own control variate plus the server's; a control variate "
            "is the mean gradient of the last steps. The mean update moves the weights, and the mean change of all "
            "clients' control variates moves the server's."
        ),
        source="Karimireddy et al., ICML 2020, algorithm 1",
        use_when="plants differ, take many steps a round, and the same ones answer again and again",
        avoid_when="a plant answers once or seldom: its control variate is then of another model; or clients use adam",
        notes=(
            "Traffic is twice that of averaging, both ways: the control variate goes along with the weights, and its "
            "change with the update.",
            "A plant's control variate counts once the server has taken its answer; otherwise an answer that is lost "
            "moves the fixed point for good.",
            "With weighting = examples the server must know each plant's number of rows.",
            "The population of a run is fixed: plants that are away or left out count in the mean with the control "
            "variate that they had, zero at first.",
        ),
    )

    @property
    def half(self) -> ScaffoldHalf:
        """The client's part."""
        return ScaffoldHalf(self.renewal, self.weighting)

    def check_training(self, training: LocalTraining) -> None:
        """Refuse steps of which control variates make no mean gradient.

        Raises
        ------
        ConfigError
            If clients use adam or adamw, or momentum with `renewal = "steps"`.
        """
        _refuse_adam(self.name, training)
        if training.momentum and self.renewal == "steps":
            raise ConfigError(
                f"training.momentum must be 0 with strategy.aggregation.renewal = 'steps' of scaffold, got "
                f"{training.momentum}: the way of steps with momentum is no mean gradient; set renewal = 'gradient'"
            )

    def init(self, num_parameters: int) -> Carry:
        """Return a control variate of zero."""
        return {_CONTROL: np.zeros(num_parameters, np.float32)}

    def outgoing(self, carry: Carry) -> Arrays:
        """Return the server's control variate."""
        return {_CONTROL: carry[_CONTROL]}

    def finish(
        self, accumulator: Sums, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return the moved weights, and the control variate of all clients.

        Raises
        ------
        FederationError
            If the updates' total weight is zero, or the rows of all clients are to be known and are not.
        """
        mean = accumulator.mean(total=closing.total)
        everybody = closing.num_rows if self.weighting == "examples" else float(closing.num_clients)
        if not everybody > 0:
            raise _unknown_rows(self.name, "weighting")
        control = carry[_CONTROL] + accumulator.mean(_CHANGE, everybody).astype(np.float32)
        return moved(weights, mean, {_CONTROL: control}, 0.0, self.step)


@dataclass(frozen=True)
class FedDynHalf:
    """Let a client minimise its loss minus <g_i, y> plus alpha_i / 2 ||y - weights||^2, and renew g_i.

    What is kept is the sum e_i of its updates that were taken: g_i is -alpha_i * e_i.

    Parameters
    ----------
    alpha
        Strength of the pull where all clients count alike.
    counts
        Whether clients' losses count by rows.
    """

    alpha: float
    counts: Counting

    weighted: ClassVar[tuple[str, ...]] = ()
    keeps: ClassVar[bool] = True

    def before(self, sent: Arrays, clients: Int64Array, store: Store) -> Arrays:
        """Return the pull of each client, (clients,), and its correction, (clients, parameters), if it has one."""
        pull, known = self._pulls(sent), store.knows(_SUMMED, clients)
        if not known.any():
            return {PULL: pull}
        nothing = np.zeros_like(store.rows(_SUMMED, clients[known][:1], np.empty(0))[0])
        return {PULL: pull, CORRECTION: store.rows(_SUMMED, clients, nothing) * pull[:, None].astype(np.float32)}

    def after(self, sent: Arrays, result: LocalResult, clients: Int64Array, store: Store) -> Arrays:
        """Keep the sums of updates; nothing leaves beside the update."""
        summed = store.rows(_SUMMED, clients, np.zeros_like(result.update[0]))
        store.put(_SUMMED, clients, summed + result.update)
        return {}

    def _pulls(self, sent: Arrays) -> Float64Array:
        rows = np.asarray(sent[ROWS], np.float64)
        if self.counts == "equal":
            return np.full(len(rows), self.alpha)
        num_clients, num_rows = sent[POPULATION].tolist()
        if not num_rows > 0:
            raise ClientError(str(_unknown_rows("feddyn", "counts")))
        return np.asarray(self.alpha * num_rows / (num_clients * np.maximum(rows, 1.0)))


@dataclass(frozen=True)
class FedDyn(SumRule):
    """Move the weights to the mean of the clients' weights plus the mean of all that their updates were so far.

    Each client minimises its loss minus <g_i, y> plus alpha_i / 2 ||y - weights||^2; then
    g_i <- g_i - alpha_i * update. With e the mean over all clients of the sums of their updates (the paper's
    -h / alpha): weights <- weights + mean update + e.

    Parameters
    ----------
    counts
        `equal`: all clients' losses count alike, and alpha_i is alpha; `examples`: by their share P_i of all rows, and
        alpha_i is alpha / (number of clients * P_i).
    alpha
        Strength of the pull towards the weights that came.

    References
    ----------
    Acar et al., "Federated Learning Based on Dynamic Regularization", ICLR 2021, algorithm 1; weights as in the
    authors' code. That a client's g_i counts once its answer was taken is ours.
    """

    counts: Counting = option("equal", "How clients' losses count: equal, all alike; or examples, by their rows.")
    alpha: float = option(0.01, "Strength of the pull towards the weights that came.", above=0)

    name: ClassVar[str] = "feddyn"
    weighting: ClassVar[Weighting] = "equal"
    keeps_updates: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        title="FedDyn: dynamic regularisation",
        rule=(
            "Each client's loss is tilted by what its updates were so far, and pulled towards the weights that came, "
            "so that all clients' minima become one. The weights become the mean of the clients' plus the mean over "
            "all clients of the sums of their updates."
        ),
        source="Acar et al., ICLR 2021, algorithm 1; weights as in the authors' code",
        use_when="plants differ, nearly minimise their losses in a round, and traffic must stay that of averaging",
        avoid_when="clients take few steps a round: steps that end far from a minimum make the weights swing at first",
        notes=(
            "The weights overshoot in the first rounds; keep evaluation.keep_best.",
            "Updates count alike: a selector that gives them other weights is refused, and so is one that uses an "
            "update twice.",
            "training.learning_rate x alpha may be at most 0.1, or the last steps would undo those before.",
            "The population of a run is fixed: plants that are away or left out count in the mean.",
        ),
    )

    @property
    def half(self) -> FedDynHalf:
        """The client's part."""
        return FedDynHalf(self.alpha, self.counts)

    def check_training(self, training: LocalTraining) -> None:
        """Refuse steps that do not minimise what a client is to minimise.

        Raises
        ------
        ConfigError
            If clients use adam or adamw, or another pull, or alpha undoes too much of each step.
        """
        _refuse_adam(self.name, training)
        if training.proximal:
            raise ConfigError(
                f"training.proximal must be 0 with feddyn, which pulls by strategy.aggregation.alpha, got "
                f"{training.proximal}"
            )
        if not training.learning_rate * self.alpha <= MOST_FORGOTTEN:
            raise ConfigError(
                f"training.learning_rate x strategy.aggregation.alpha must be at most {MOST_FORGOTTEN}, got "
                f"{training.learning_rate * self.alpha:g}: the last steps would undo those before; lower one of them"
            )

    def init(self, num_parameters: int) -> Carry:
        """Return a mean of no updates."""
        return {_SUMMED: np.zeros(num_parameters, np.float32)}

    def fold(self, accumulator: Sums, updates: Arrays, weights: Float64Array) -> Sums:
        """Add the updates one after the other.

        Raises
        ------
        FederationError
            If an update counts more or less than the others: clients keep what it is by itself.
        """
        odd = weights[weights != np.rint(weights)]  # of several clients at once, as many as they are
        if len(odd):
            raise FederationError(
                f"strategy.selection must let all updates count alike with feddyn, got one of weight {odd[0]:g}; "
                "choose all or uniform"
            )
        return super().fold(accumulator, updates, weights)

    def finish(
        self, accumulator: Sums, weights: Float32Array, carry: Carry, closing: Closing = Closing()
    ) -> tuple[Float32Array, Carry]:
        """Return the moved weights, and the mean over all clients of the sums of their updates.

        Raises
        ------
        FederationError
            If no client had rows, or nobody knows how many clients there are.
        """
        number, answered = closing.num_clients, np.float32(accumulator.weight)
        mean: Float32Array = accumulator.mean()
        if not number:
            raise FederationError("feddyn must know how many clients there are; give Closing.num_clients")
        summed: Float32Array = carry[_SUMMED] + mean * (answered / np.float32(number))
        mean += weights
        mean += summed
        return mean, {_SUMMED: summed}


def _refuse_adam(name: str, training: LocalTraining) -> None:
    if training.optimizer != "sgd":
        raise ConfigError(
            f"training.optimizer must be sgd with {name}, got {training.optimizer!r}: its steps are of one size "
            "whatever a correction leaves of the gradient, so that clients drift on"
        )


def _unknown_rows(name: str, key: str) -> FederationError:
    return FederationError(
        f"strategy.aggregation.{key} of {name} must be 'equal' where a client keeps its number of rows to itself, or "
        "nobody said one, got 'examples'; set it to 'equal'"
    )
