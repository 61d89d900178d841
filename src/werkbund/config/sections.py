"""The sections of a configuration, each with its defaults and rules. An empty file is the built-in federation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Be a section: unknown keys and values of another type are refused, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FederationSection(Section):
    """Set the run as a whole."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "werkbund"
    rounds: Count = 150
    seed: Annotated[int, Field(ge=0)] = 0
    quorum: Share = 0.5
    round_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    patience: Annotated[int, Field(ge=0)] = 0
    """Rounds without a better validation metric after which the run stops; 0 never stops early."""
    checkpoint_every: Count = 1
    deliver_every: Annotated[int, Field(ge=0)] = 0
    """In a real federation, plants also get the best model so far every so many rounds; 0: only at the end."""


class ColumnSection(Section):
    """Describe one feature column."""

    kind: Literal["number", "category"] | None = None
    unit: str = ""
    low: float | None = None
    high: float | None = None


class DataSection(Section):
    """Say where the rows are and what their columns mean; with no label, a known table is recognised."""

    source: Literal["ai4i2020", "generator"] = "ai4i2020"
    """Without a path: AI4I 2020 if its file is found, generated rows otherwise; or generated rows in any case."""
    path: str | None = None
    clients: dict[str, str] = Field(default_factory=dict)
    separator: str | None = None
    """Between the fields of a text file; None: by the file's ending, a comma for .csv."""
    decimal_comma: bool = False
    rows: Count = 10_000
    plants: Count | None = None
    """Plants that are generated; None: `clients.count`."""
    label: str | None = None
    positive: str | int | float | bool | None = None
    machine: str | None = None
    machine_reset: str | None = None
    time: str | None = None
    client: str | None = None
    never: list[str] = Field(default_factory=list)
    modes: list[str] = Field(default_factory=list)
    mode: str | None = None
    mode_none: str | None = None
    columns: dict[str, ColumnSection] = Field(default_factory=dict)


class DerivedSection(Section):
    """Compute a feature from raw columns."""

    expression: str
    unit: str = ""


class FeaturesSection(Section):
    """Add derived features."""

    preset: bool = True
    """Use the derived features that a recognised table brings along."""
    derived: dict[str, str | DerivedSection] = Field(default_factory=dict)


class ClientsSection(Section):
    """Divide the table into clients, and each client's rows into train, validation and test."""

    partition: str | None = None
    """None: by the client column if there is one, else by blocks of tools, else by chance."""
    count: Count | None = None
    """None: as many as the client column has values; 10 where there is no such column."""
    options: dict[str, Any] = Field(default_factory=dict)
    test: Annotated[float, Field(gt=0, lt=1)] = 0.25
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.15
    server: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the validation rows that the server holds too, for methods that judge clients by rows of its own."""
    noisy: Annotated[int, Field(ge=0)] = 0
    """Clients, drawn by the seed, that note some labels of their training and validation rows wrongly."""
    noise: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of labels that these turn over."""


class ModelSection(Section):
    """Choose the network and its first weights."""

    kind: str = "mlp"
    hidden: list[Count] | None = None
    activation: str | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    width: Count | None = None
    depth: Count | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    initial: str = "random"
    """`random`; `client` or `client:NAME`, which trains alone first; or the path of a run or of a `.npy` file."""
    initial_rounds: Count = 5


class TreesSection(Section):
    """Say how trees grow, where `model.kind` is one of trees; what is left out follows from the kind."""

    learning_rate: Annotated[float, Field(gt=0)] | None = None
    max_depth: Annotated[int, Field(ge=1, le=30)] | None = None
    max_leaves: Annotated[int, Field(ge=0)] = 0
    """0 is any number."""
    min_child_rows: Count | None = None
    l2: Annotated[float, Field(ge=0)] | None = None
    num_bins: Annotated[int, Field(ge=2, le=255)] = 255
    rank_error: Annotated[float, Field(gt=0, lt=1)] = 0.0005
    """Share of the rows by which a bin's edge may be off its rank, where a feature has more values than bins."""
    row_share: Share = 1.0
    tree_features: Share = 1.0
    node_features: Share | None = None
    count: Count = 150
    """Trees of a forest; boosted trees are as many as `federation.rounds`."""
    together: Count = 10
    """Trees of a forest that one round grows, in the same messages."""
    combine: Literal["exact", "bagging"] = "exact"
    """Exact: trees of the summed histograms. Bagging: each client grows trees of its own, and these are united."""
    min_cell_rows: Annotated[int, Field(ge=0)] = 0
    """What is over fewer rows of one client does not leave it; above 1 the trees are not those of the pooled rows."""
    positive_weight: Literal["none", "balanced"] | Annotated[float, Field(gt=0)] = "none"
    monotone: dict[str, Literal[-1, 1]] = Field(default_factory=dict)
    """Features with which the risk may only rise (1) or fall (-1)."""


class TrainingSection(Section):
    """Set what each client does in a round."""

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: Annotated[float, Field(gt=0)] = 0.3
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the learning rate changes over the rounds: not at all, or down to zero along half a cosine."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0003
    epochs: Count = 1
    steps: Count | None = None
    batch_size: Count = 16
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    positive_weight: Literal["none", "sqrt", "balanced"] | Annotated[float, Field(gt=0)] = "none"
    """Weight of failures in the loss; `balanced` and `sqrt` follow the federation's prevalence."""
    proximal: Annotated[float, Field(ge=0)] = 0.0
    batched: bool = True
    """Train a cohort's clients together where the network allows it; false is the plain loop, client after client."""
    compiled: bool = True
    """Use the compiled loop for networks that are chains of linear layers."""


class SelectionSection(Section):
    """Choose who trains."""

    name: str = "all"
    fraction: Share = 1.0
    count: Count | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the method; `werkbund strategies NAME` lists them."""


class AggregationSection(Section):
    """Choose how updates become the next weights."""

    name: str = "fedavg"
    weighting: Literal["examples", "equal"] = "examples"
    step: Annotated[float, Field(gt=0)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9


class StrategySection(Section):
    """Hold selection and aggregation."""

    selection: SelectionSection = SelectionSection()
    aggregation: AggregationSection = AggregationSection()


class EvaluationSection(Section):
    """Say how a model is judged."""

    metric: Literal["average_precision", "roc_auc", "brier", "log_loss"] = "average_precision"
    keep_best: bool = True
    """Keep the weights of the round that was best on validation rows; else those of the last round."""
    clients: Count = 1000
    server_rows: str | None = None
    """A table with the clients' columns that the server holds itself, for methods that judge clients by such rows."""
    local_models: Count = 50
    """At most so many clients also train a model of their own for the comparison, drawn by the seed."""
    missed_failure: Annotated[float, Field(gt=0)] = 5.0
    needless_inspection: Annotated[float, Field(gt=0)] = 1.0


class StopSection(Section):
    """End the training before `federation.rounds` are done; whatever comes first ends it."""

    target: float | None = None
    """Value of the validation metric, `evaluation.metric`, that is good enough."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """Budget of wall-clock time of the rounds."""
    simulated_seconds: Annotated[float, Field(gt=0)] | None = None
    joules: Annotated[float, Field(gt=0)] | None = None
    """Budgets of a simulated world."""
    bytes: Annotated[float, Field(gt=0)] | None = None
    """Budget of the payload of all messages, both ways."""
    reward: Annotated[float, Field(gt=0)] | None = None
    """Budget of what clients are paid, by a method that pays."""


class WorldSection(Section):
    """Simulate how fast, how well connected and how often there clients are, in process alone."""

    preset: Literal["none", "uniform", "factory-fleet", "mobile-machines"] = "none"
    path: str | None = None
    """A table with a row a client, in place of a preset."""
    deadline_s: Annotated[float, Field(gt=0)] | None = None
    """Simulated seconds after which nobody is waited for."""
    start_h: Annotated[float, Field(ge=0)] = 8.0
    """Hour of the simulated clock at which the first round begins; 0 is midnight of the first day."""
    pause_s: Annotated[float, Field(ge=0)] = 0.0
    """Simulated seconds between two rounds: clocks go on and batteries charge, and no round takes longer for it."""


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
    evaluation: EvaluationSection = EvaluationSection()
    stop: StopSection = StopSection()
    world: WorldSection = WorldSection()

    @model_validator(mode="after")
    def _rows_are_left_to_train_on(self) -> Config:
        held_out = self.clients.test + self.clients.validation
        if held_out >= 1:
            raise ValueError(f"clients.test + clients.validation must be below 1, got {held_out}")
        return self
