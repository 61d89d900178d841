"""Personal parts: what of a model is each client's own beside what all have in common, whatever the rule for that.

A method says what it keeps at clients as a `Personal`; the engine does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from werkbund.aggregation.contract import Card
from werkbund.core.defaults import ENOUGH_FAILURES
from werkbund.core.errors import ConfigError
from werkbund.core.methods import Option, Registry, check_options, option, options_of

Staying = Literal["nothing", "head", "normalisation", "named"]
"""Which layers stay at each client: none, the last one, those that normalise, or those that are named."""

_KEY = "strategy.personal"
_LAYERS = "names of layers, or patterns such as `norm*`; the last layer if left out"


@dataclass(frozen=True)
class Personal:
    """Say what of a model is each client's own.

    Parameters
    ----------
    stays
        Which layers never leave a client.
    layers
        Their names or patterns, where they are named; of fine-tuning those that it trains, empty for all.
    head_epochs
        Passes that the layers which stay train alone, before the others train alone; 0: all train together.
    pull
        Strength by which a whole model of the client's own is pulled to the common weights; None: it has none.
    epochs
        Passes from the common weights after the last round; None: it takes none.
    """

    stays: Staying = "nothing"
    layers: tuple[str, ...] = ()
    head_epochs: int = 0
    pull: float | None = None
    epochs: int | None = None

    @property
    def parts_layers(self) -> bool:
        """Whether some layers stay at clients, so that what is common is no whole model."""
        return self.stays != "nothing"

    @property
    def is_kept(self) -> bool:
        """Whether clients keep something of their own from round to round."""
        return self.parts_layers or self.pull is not None


class PersonalMethod(Protocol):
    """Be a frozen dataclass with a `name` and a `card`, whose fields are its options."""

    @property
    def plan(self) -> Personal:
        """What is each client's own."""


def _staying(layers: tuple[str, ...], head_epochs: int = 0) -> Personal:
    return Personal("named" if layers else "head", layers, head_epochs)


_NEVER_TRAINED = "A client that never trained has the network's first random values in its own layers."


@dataclass(frozen=True)
class FedPer:
    """Keep some layers at each client, and train all of them together.

    Parameters
    ----------
    layers
        Those that stay; empty: the last one.

    Raises
    ------
    ConfigError
        If an option breaks its rule.

    References
    ----------
    Arivazhagan et al., "Federated Learning with Personalization Layers", 2019, algorithms 1 and 2.
    """

    layers: tuple[str, ...] = option((), _LAYERS)
    name: ClassVar[str] = "fedper"
    card: ClassVar[Card] = Card(
        title="Personal layers (FedPer)",
        rule="Named layers, the last one unless others are named, stay at each client and train there together with "
        "the rest; the rest alone is sent and becomes common by whatever rule.",
        source="Arivazhagan et al., Federated Learning with Personalization Layers, 2019",
        use_when="plants read their sensors alike but decide otherwise what a failure is",
        avoid_when="a plant without rows shall use the model: the common part is no whole one",
        notes=(_NEVER_TRAINED, "The last round is kept: the layers of earlier rounds are no longer at the clients."),
    )

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    @property
    def plan(self) -> Personal:
        """The layers that stay."""
        return _staying(self.layers)


@dataclass(frozen=True)
class FedRep:
    """Keep some layers at each client; train these first, the others frozen, then the others, these frozen.

    Parameters
    ----------
    layers
        Those that stay; empty: the last one.
    head_epochs
        Passes over the rows in which they train; the others train as `[training]` says.

    Raises
    ------
    ConfigError
        If an option breaks its rule.

    References
    ----------
    Collins et al., "Exploiting Shared Representations for Personalized Federated Learning", ICML 2021, algorithm 1.
    The paper ends with a round in which the layers that stay train alone; here there is none.
    """

    layers: tuple[str, ...] = option((), _LAYERS)
    head_epochs: int = option(4, "passes in which the layers that stay train alone, before the others", at_least=1)
    name: ClassVar[str] = "fedrep"
    card: ClassVar[Card] = Card(
        title="Shared representation (FedRep)",
        rule="As personal layers, but in each round the layers that stay train first with the others frozen, for "
        "`head_epochs` passes, and then the others with these frozen, as [training] says.",
        source="Collins et al., Exploiting Shared Representations for Personalized Federated Learning, ICML 2021",
        use_when="plants differ so much in what a failure is that one round of training moves the last layer far",
        avoid_when="computing is dear at plants: a round takes several times as many passes",
        notes=(
            _NEVER_TRAINED,
            "The paper's five passes are four and one. Its last round, of the layers that stay alone, is left out.",
            "The loss that is told is that of the passes in which the common layers train.",
        ),
    )

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    @property
    def plan(self) -> Personal:
        """The layers that stay, and how long they train first."""
        return _staying(self.layers, self.head_epochs)


@dataclass(frozen=True)
class FedBN:
    """Keep the layers that normalise at each client.

    References
    ----------
    Li et al., "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization", ICLR 2021, algorithm 1.
    There they are BatchNorm with its running statistics, which no network here has: LayerNorm, GroupNorm and their like
    keep scale and shift.
    """

    name: ClassVar[str] = "fedbn"
    card: ClassVar[Card] = Card(
        title="Local normalisation (FedBN)",
        rule="Scale and shift of every layer that normalises stay at each client; all other layers become common.",
        source="Li et al., FedBN: Federated Learning on Non-IID Features via Local Batch Normalization, ICLR 2021",
        use_when="plants' readings differ in level or spread in a way that the common scaling does not take out",
        avoid_when="the network has no such layer, as logistic and mlp: it is refused then",
        notes=(
            _NEVER_TRAINED,
            "The paper's layers are BatchNorm. Networks whose statistics run are refused here, so that LayerNorm, "
            "GroupNorm and RMSNorm are meant, of which scale and shift alone are learnt.",
        ),
    )

    @property
    def plan(self) -> Personal:
        """The layers that normalise stay."""
        return Personal("normalisation")


@dataclass(frozen=True)
class Ditto:
    """Train a whole model of each client's own beside the common one, pulled to it.

    Parameters
    ----------
    pull
        Strength lambda of the pull: 0 is a model of the client alone, a strong one the common model.

    Raises
    ------
    ConfigError
        If the pull is out of range.

    References
    ----------
    Li et al., "Ditto: Fair and Robust Federated Learning Through Personalization", ICML 2021, algorithm 1 with one pass
    of v a round over the batches of w, as the authors' code.
    """

    pull: float = option(0.1, "pull of a client's own model to the common one (lambda)", at_least=0)
    name: ClassVar[str] = "ditto"
    card: ClassVar[Card] = Card(
        title="A model of its own, pulled to the common one (Ditto)",
        rule="Beside its training of the common weights w a client takes the same steps, over the same batches, of a "
        "model v of its own: v - eta (grad F(v) + lambda (v - w)), w as it came. v never leaves; any rule makes w.",
        source="Li et al., Ditto: Fair and Robust Federated Learning Through Personalization, ICML 2021",
        use_when="plants differ, some may be hostile, and each shall keep a whole model that follows its own rows",
        avoid_when="computing is dear at plants: each round trains two models",
        notes=(
            "v begins at the common weights of the first round that a client trains in, the paper's at those of the "
            "first round; a client that never trained has the common model.",
            "The paper tries lambda 0.1, 1 and 2. Plants refuse a run whose step would undo more than a tenth of the "
            "way so far, since v would follow the last rows alone.",
            "v takes the steps of [training], with this pull in place of its proximal one; what is clipped is the "
            "gradient of the loss, without the pull.",
            "The last round is kept: earlier models v are no longer at the clients.",
        ),
    )

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    @property
    def plan(self) -> Personal:
        """A whole model beside the common one."""
        return Personal(pull=self.pull)


@dataclass(frozen=True)
class FineTuning:
    """Let each client train on from the common weights after the last round, and keep its best pass.

    Parameters
    ----------
    epochs
        Passes over its training rows.
    layers
        Those that train; empty: all.

    Raises
    ------
    ConfigError
        If an option breaks its rule.

    References
    ----------
    Yu et al., "Salvaging Federated Learning by Local Adaptation", 2020, section 3 (fine-tuning).
    """

    epochs: int = option(5, "passes over its own rows after the last round", at_least=0, at_most=10)
    layers: tuple[str, ...] = option((), "names of the layers that it trains, or patterns; all if left out")
    name: ClassVar[str] = "fine-tuning"
    card: ClassVar[Card] = Card(
        title="Fine-tuning at the end",
        rule="After the last round each client trains on from the kept common weights on its own rows, for `epochs` "
        "passes at a rate that falls from training.learning_rate along half a cosine, and keeps the pass, none "
        "included, with the lowest mean loss on its validation rows.",
        source="Yu, Bagdasaryan, Shmatikov, Salvaging Federated Learning by Local Adaptation, 2020",
        use_when="a good common model is there, and plants differ from it a little; it costs nothing before the end",
        avoid_when="plants contradict one another: the common model that it begins with is then of little use",
        notes=(
            f"With fewer than {ENOUGH_FAILURES} validation failures a client keeps its last pass: so few choose by "
            "chance.",
            "The loss is the one that is trained, with the weight of failures. There is no proximal pull, and the "
            "optimiser's state begins anew with each pass.",
        ),
    )

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    @property
    def plan(self) -> Personal:
        """Passes after the last round."""
        return Personal(layers=self.layers, epochs=self.epochs)


PERSONAL: dict[str, type[Any]] = {method.name: method for method in (FedPer, FedRep, FedBN, Ditto, FineTuning)}
"""The methods by name."""

NOTHING = "none"
"""The name by which a configuration says that nothing is a client's own."""

_REGISTRY = Registry(_KEY, "a method of personal parts", ("plan", "card"), PERSONAL, "docs/architecture.md")


def build_personal(name: str, options: Mapping[str, Any]) -> Personal:
    """Return what the method of a name, one of `PERSONAL` or `NOTHING`, keeps at clients.

    Raises
    ------
    ConfigError
        If there is none of this name, or an option is not the method's or breaks its rule.
    """
    if name == NOTHING:
        _REGISTRY.check_names(name, options, {})
        return Personal()
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    method: PersonalMethod = _REGISTRY.build(name, given)
    return method.plan


def personal_options(name: str) -> dict[str, Option]:
    """Return a method's options, each with its default, its range and what it is for."""
    return options_of(PERSONAL[name])


def limits_of(name: str, personal: Personal) -> list[str]:
    """Return what a reader of the common model must know where a method of this name keeps this at clients."""
    if name == NOTHING:
        return []
    if personal.parts_layers:
        return [
            f"Some layers never left the clients (strategy.personal.name = {name}): here they have their first random "
            "values, and this model alone is of little use. Each client has a whole one of its own."
        ]
    return [f"Each client has a model of its own beside this common one (strategy.personal.name = {name})."]


def check_fits(personal: Personal, close: str, judges: bool) -> None:
    """Refuse a pace or a selector that does not go with what stays at clients.

    Parameters
    ----------
    personal
        What does.
    close
        When a round closes.
    judges
        Whether the selector judges models on the server's rows.

    Raises
    ------
    ConfigError
        If updates come late to a part that clients keep, or the server has no whole model to judge.
    """
    if personal.is_kept and close != "all":
        raise ConfigError(
            f"strategy.pace.close must be all where clients keep a part of the model of their own, got {close!r}; "
            "choose fine-tuning or no personal part"
        )
    if personal.parts_layers and judges:
        raise ConfigError(
            "strategy.selection.name must not judge models on the server's rows where layers stay at clients: the "
            "server has no whole model; choose another"
        )
