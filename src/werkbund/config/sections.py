"""The sections of a configuration: each key with its default, its rule and what it is for.

An empty file is the built-in federation. The text below a key is its description, which drafts and the reference show.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, SerializeAsAny, create_model, field_validator, model_validator
from pydantic_core import PydanticCustomError

from werkbund.aggregation import DEFAULT, aggregation_options, check_option_names
from werkbund.aggregation.clusters import ONE
from werkbund.aggregation.personal import NOTHING
from werkbund.config.models import ClustersSection, PersonalSection
from werkbund.config.privacy import PrivacySection, Surroundings
from werkbund.config.rows import ClientsSection, Count, DataSection, FeaturesSection, Section, Share
from werkbund.config.simulated import AttackSection, WorldSection
from werkbund.core import defaults
from werkbund.core.errors import ConfigError
from werkbund.core.methods import Option


def _class_weight(weight: float) -> float:
    """Refuse a weight beside which rows of one class would not count."""
    most = defaults.MOST_POSITIVE_WEIGHT
    if not 1 / most <= weight <= most:
        raise ValueError(f"must be in [{1 / most:g}, {most:g}] or 'balanced': beyond, rows of one class do not count")
    return weight


ClassWeight = Annotated[float, AfterValidator(_class_weight)]
"""What a failure counts, where another row counts 1."""


class FederationSection(Section):
    """Set the run as a whole."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "werkbund"
    """Name of the run's folder."""
    purpose: str = ""
    """What the model is for, in words that all plants agree to; a run for another purpose is refused by them."""
    rounds: Count = 150
    """Rounds of training."""
    seed: Annotated[int, Field(ge=0)] = 0
    """One seed for split, first weights and batches."""
    quorum: Share = 0.5
    """Share of a round's cohort that must answer usefully."""
    round_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    """Seconds after which a client counts as failed."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Rounds without a better validation metric after which the run stops; 0 never stops early."""
    checkpoint_every: Count = 1
    """Rounds between two checkpoints to go on from."""
    deliver_every: Annotated[int, Field(ge=0)] = 0
    """Rounds after which the plants of a real federation get the best model so far; 0: only at the end."""


class ModelSection(Section):
    """Choose the network and its first weights."""

    kind: str = "mlp"
    """One of logistic, mlp, residual-mlp, trees, forest, extra-trees, or package.module:Class of your own."""
    hidden: list[Count] | None = None
    """Widths of the hidden layers of an mlp."""
    activation: str | None = None
    """Between layers: relu, gelu, tanh or silu."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of hidden units left out in training."""
    width: Count | None = None
    """Width of a residual-mlp."""
    depth: Count | None = None
    """Blocks of a residual-mlp."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of a network of your own."""
    initial: str = "random"
    """First weights: random; client or client:NAME, which trains alone first; or the path of a run or a .npy file."""
    initial_rounds: Count = 5
    """Passes of that client over its rows."""


class TreesSection(Section):
    """Say how trees grow, where `model.kind` is one of trees; what is left out follows from the kind."""

    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Learning rate of boosted trees, 0.1 if left out; lower it with more rounds."""
    max_depth: Annotated[int, Field(ge=1, le=30)] | None = None
    """Splits between root and leaf, messages a tree; 5, of a forest 12."""
    max_leaves: Annotated[int, Field(ge=0)] = 0
    """Leaves of a tree at most; 0: any number."""
    min_child_rows: Count | None = None
    """Least training rows of a leaf, over all clients together."""
    l2: Annotated[float, Field(ge=0)] | None = None
    """Pull of the leaves' values to zero."""
    num_bins: Annotated[int, Field(ge=2, le=defaults.MOST_BINS)] = defaults.MOST_BINS
    """Values of a feature that trees tell apart, at most."""
    rank_error: Annotated[float, Field(gt=0, le=0.5)] = defaults.RANK_ERROR
    """Share of the rows by which edges may be off their best place, where a feature has more values than bins."""
    row_share: Share = 1.0
    """Chance of a row to be in a tree, drawn alike at every client."""
    tree_features: Share = 1.0
    """Share of the features that a tree may ask."""
    node_features: Share | None = None
    """Share of those that a node may ask; 1, of a forest 0.5."""
    count: Count = 150
    """Trees of a forest; boosted trees are as many as `federation.rounds`."""
    together: Count = 10
    """Trees of a forest that one round grows, in the same messages."""
    combine: Literal["exact", "bagging"] = "exact"
    """Exact, trees of the summed histograms; or bagging, each client's own trees, united: fewer messages, and worse."""
    min_cell_rows: Annotated[int, Field(ge=0)] = 0
    """What is over fewer rows of one client does not leave it; above 1 the trees are not those of the pooled rows."""
    positive_weight: Literal["none", "balanced"] | ClassWeight = "none"
    """Weight of failures: none, balanced, or a number."""
    monotone: dict[str, Literal[-1, 1]] = Field(default_factory=dict)
    """Pairs of feature = 1 or -1: the risk may only rise or fall with it."""


class TrainingSection(Section):
    """Set what each client does in a round."""

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """Rule of a client's steps: sgd, adam or adamw."""
    learning_rate: Annotated[float, Field(gt=0)] = defaults.LEARNING_RATE
    """Size of a client's steps in the first round; lower it if the loss jumps."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the learning rate goes over the rounds: cosine, down to zero along half a cosine; or constant."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum of sgd at the clients; the server has its own."""
    weight_decay: Annotated[float, Field(ge=0)] = defaults.WEIGHT_DECAY
    """Pull of the weights to zero; 0.0001 helps where failures are few."""
    epochs: Count = 1
    """Passes over its rows that a client makes in a round."""
    steps: Count | None = None
    """Instead of epochs: equally many batches at every client."""
    batch_size: Count = defaults.BATCH_SIZE
    """Rows a step."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest norm of a step's gradient."""
    positive_weight: Literal["none", "sqrt", "balanced"] | ClassWeight = "none"
    """Weight of failures in the loss: none, a number, or sqrt or balanced, which follow the federation's prevalence."""
    proximal: Annotated[float, Field(ge=0)] = 0.0
    """Pull of clients to the common weights (FedProx); try 0.01 where they differ much."""
    batched: bool = True
    """Train a cohort's clients as one computation where the network allows it; same result, faster."""
    compiled: bool = True
    """Use the compiled loop where the network is a chain of linear layers."""


class SelectionSection(Section):
    """Choose who trains."""

    name: str = "all"
    """Who trains; `werkbund strategies` lists them, or file.py:Class of your own."""
    fraction: Share = 1.0
    """Share of clients that train in a round."""
    count: Count | None = None
    """Or their number."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the method; `werkbund strategies NAME` lists them."""


_OF_ANY_RULE = ("name", "clip_norm")
"""Keys of the aggregation that are no options of the rule."""


class AggregationSection(Section):
    """Choose how updates become the next weights; the other keys are the options of the rule that is named."""

    name: str = DEFAULT
    """Rule by which updates become the next weights, or file.py:Class of your own."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest length of a client's update per unit of its weight, under any rule; the server shortens longer ones."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of the rule by name, those that were not set included."""
        return {key: value for key, value in self.model_dump().items() if key not in _OF_ANY_RULE}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the values alone: the class is made anew from the name where they are read."""
        return _section_of, ({"name": self.name, **self.model_dump(exclude_unset=True)},)


class OwnAggregationSection(AggregationSection):
    """Name a rule of one's own by where it stands; its options are checked when it is loaded, before a run."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


@cache
def aggregation_section(name: str) -> type[AggregationSection]:
    """Return the section whose keys are the options that an aggregator declares.

    Raises
    ------
    ConfigError
        If there is none of this name.
    """
    if ":" in name:
        return OwnAggregationSection
    keys: dict[str, Any] = {
        key: (Annotated[declared.type, _field_of(declared)], declared.default)
        for key, declared in aggregation_options(name).items()
    }
    described = Field(description=AggregationSection.model_fields["name"].description)
    keys["name"] = (Annotated[str, described], name)
    return create_model("AggregationSection", __base__=AggregationSection, **keys)


def _section_of(values: dict[str, Any]) -> AggregationSection:
    return aggregation_section(values["name"]).model_validate(values)


def _field_of(declared: Option) -> Any:
    return Field(
        description=declared.what, gt=declared.above, ge=declared.at_least, le=declared.at_most, lt=declared.below
    )


class PaceSection(Section):
    """Say when a round closes, and what an update counts that comes later."""

    close: Literal["all", "first", "buffer"] = "all"
    """When a round closes: all have answered; the first `updates` of the round; or a buffer of `updates` of any age."""
    updates: Count | None = None
    """How many updates close a round, with first and buffer."""
    exponent: Annotated[float, Field(ge=0)] = 0.5
    """An update that is s rounds old counts (1 + s) to the power of minus this."""
    most_stale: Annotated[int, Field(ge=0)] = 20
    """An update that is more rounds old is not used."""


class StrategySection(Section):
    """Hold selection, aggregation, pace, clusters and personal parts."""

    selection: SelectionSection = SelectionSection()
    aggregation: SerializeAsAny[AggregationSection] = aggregation_section(DEFAULT)()
    pace: PaceSection = PaceSection()
    clusters: ClustersSection = ClustersSection()
    personal: PersonalSection = PersonalSection()

    @field_validator("aggregation", mode="before")
    @classmethod
    def _options_are_those_of_the_rule(cls, values: Any) -> Any:
        """Return the section of the rule that is named, checked; `values` are a file's plain ones, or a section."""
        if not isinstance(values, dict) or not isinstance(name := values.get("name", DEFAULT), str):
            return values
        try:
            section = aggregation_section(name)
            if name != DEFAULT and section is not OwnAggregationSection:  # whose keys are listed with all others
                check_option_names(name, {key: value for key, value in values.items() if key not in _OF_ANY_RULE})
        except ConfigError as error:
            raise PydanticCustomError("unknown_method", "{fault}", {"fault": str(error)}) from error
        return section.model_validate(values)


class EvaluationSection(Section):
    """Say how a model is judged."""

    metric: Literal["average_precision", "roc_auc", "brier", "log_loss", "rmse", "mae"] = "average_precision"
    """One of average_precision, roc_auc, brier or log_loss, of a number also rmse or mae, on validation rows."""
    keep_best: bool = True
    """Keep the round that was best on validation rows, if these hold 20 failures; else the last. A forest keeps all."""
    clients: Count = defaults.EVALUATED_CLIENTS
    """More clients than this, and a sample of so many evaluates each round."""
    server_rows: str | None = None
    """A table with the clients' columns that the server holds itself, for methods that judge clients by such rows."""
    contributions: bool = False
    """Tell what each client contributed to the score on the rows that judge it; takes many more scorings a round."""
    local_models: Count = 50
    """At most so many clients, drawn by the seed, also train a model of their own for the comparison."""
    missed_failure: Annotated[float, Field(gt=0)] = 5.0
    """Cost of a failure that nobody announced."""
    needless_inspection: Annotated[float, Field(gt=0)] = 1.0
    """Cost of an announcement without a failure."""


class StopSection(Section):
    """End the training before `federation.rounds` are done; whatever comes first ends it."""

    target: float | None = None
    """Value of the validation metric, `evaluation.metric`, that is good enough to stop."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """Budget of wall-clock time of the rounds."""
    simulated_seconds: Annotated[float, Field(gt=0)] | None = None
    """Budget of time in a simulated world."""
    joules: Annotated[float, Field(gt=0)] | None = None
    """Budget of the clients' energy in a simulated world."""
    bytes: Annotated[float, Field(gt=0)] | None = None
    """Budget of the payload of all messages, both ways."""
    reward: Annotated[float, Field(gt=0)] | None = None
    """Budget of what clients are paid, by a method that pays."""


class Config(Section):
    """Hold a whole configuration."""

    federation: FederationSection = FederationSection()
    data: DataSection = DataSection()
    features: FeaturesSection = FeaturesSection()
    clients: ClientsSection = ClientsSection()
    model: ModelSection = ModelSection()
    trees: TreesSection = TreesSection()
    training: TrainingSection = TrainingSection()
    strategy: StrategySection = StrategySection()
    privacy: PrivacySection = PrivacySection()
    evaluation: EvaluationSection = EvaluationSection()
    stop: StopSection = StopSection()
    world: WorldSection = WorldSection()
    attack: AttackSection = AttackSection()

    @property
    def keeps_best(self) -> bool:
        """Whether an earlier round may be kept: not where clients keep a part of the last one themselves."""
        return self.evaluation.keep_best and not self.strategy.personal.plan.is_kept

    @model_validator(mode="after")
    def _personal_parts_fit(self) -> Config:
        name, plan = self.strategy.personal.name, self.strategy.personal.plan
        if name != NOTHING and self.federation.deliver_every:
            raise ValueError(
                f"federation.deliver_every must be 0 with strategy.personal.name = {name!r}, got "
                f"{self.federation.deliver_every}: clients make models of their own after the last round"
            )
        if name != NOTHING and self.strategy.clusters.name != ONE:
            raise ValueError(f"strategy.personal.name must be {NOTHING} with strategy.clusters, got {name!r}; drop one")
        if plan.parts_layers and self.evaluation.contributions:
            raise ValueError("evaluation.contributions must be false where layers stay at clients: no model is whole")
        if plan.parts_layers and self.model.initial != "random":
            raise ValueError(
                f"model.initial must be random where layers stay at clients, got {self.model.initial!r}: they begin "
                "with the network's random values, which every client draws alike by federation.seed"
            )
        return self

    @model_validator(mode="after")
    def _clusters_fit(self) -> Config:
        faults = {
            "attack.kind must be none": self.attack.kind != "none",
            "federation.deliver_every must be 0": self.federation.deliver_every > 0,
            "model.initial must be random": self.model.initial != "random",
        }
        broken = [rule for rule, is_broken in faults.items() if is_broken]
        if broken and self.strategy.clusters.name != ONE:
            raise ValueError(
                f"{'; '.join(broken)} with strategy.clusters.name = {self.strategy.clusters.name!r}, got otherwise: "
                "there is no one model; drop it, or name no clusters"
            )
        return self

    @model_validator(mode="after")
    def _privacy_fits(self) -> Config:
        strategy, model, training = self.strategy, self.model, self.training
        around = Surroundings(
            model.kind,
            model.initial,
            training.positive_weight,
            training.clip_norm,
            (training.optimizer, training.epochs, training.steps) == ("sgd", 1, None),
            strategy.pace.close,
            strategy.clusters,
            strategy.personal,
            strategy.aggregation.clip_norm,
            self.evaluation.contributions,
            self.attack.kind,
        )
        if fault := self.privacy.refusal(around):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _rows_are_left_to_train_on(self) -> Config:
        held_out = self.clients.test + self.clients.validation
        if held_out >= 1:
            raise ValueError(f"clients.test + clients.validation must be below 1, got {held_out}")
        return self
