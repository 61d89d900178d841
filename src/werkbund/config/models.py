"""Which models there are, and the sections that say who has which: several for a fleet, or a part each client's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from werkbund.aggregation.clusters import Clustering, build_clustering
from werkbund.aggregation.personal import Personal, build_personal
from werkbund.config.rows import Count, Section
from werkbund.core.errors import ConfigError

SHIPPED_MODELS = ("logistic", "mlp", "residual-mlp", "trees", "forest", "extra-trees")
"""Values of `model.kind` that ship."""


class ClustersSection(Section):
    """Train several models, for fleets of machines that do not fit one, and say how clients are assigned to them."""

    name: Literal["none", "ifca", "cfl"] = "none"
    """none; ifca, each client the model that fits it best; cfl, clusters split where updates point apart."""
    count: Annotated[int, Field(ge=1, le=20)] | None = None
    """Models of ifca, 2 if left out."""
    start: Annotated[int, Field(ge=0)] | None = None
    """Number of the random first weights of ifca, 0 if left out; try others where one model takes all clients."""
    converged: Annotated[float, Field(gt=0)] | None = None
    """Length of a mean update below which cfl splits a cluster, in middle lengths of round 1; 0.4 if left out."""
    moving: Annotated[float, Field(gt=0)] | None = None
    """Length of a member's update above which it does, in the same unit; 0.6 if left out."""
    warm_up: Count | None = None
    """Rounds in which cfl splits nothing, 10 if left out."""
    noise: Annotated[float, Field(ge=0, le=1)] | None = None
    """Noise of gradients (gamma) that cfl takes for given, 0.75 if left out: groups must oppose; 0: no test."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of the method that are set, by name."""
        return {key: value for key, value in self.model_dump(exclude={"name"}).items() if value is not None}

    @property
    def method(self) -> Clustering | None:
        """The method that is named; None for one model."""
        return build_clustering(self.name, self.options)

    @model_validator(mode="after")
    def _options_are_those_of_the_method(self) -> ClustersSection:
        try:
            build_clustering(self.name, self.options)
        except ConfigError as error:
            raise PydanticCustomError("unknown_method", "{fault}", {"fault": str(error)}) from error
        return self


class PersonalSection(Section):
    """Choose what of the model is each client's own, whatever the rule for what is common."""

    name: Literal["none", "fedper", "fedrep", "fedbn", "ditto", "fine-tuning"] = "none"
    """none; fedper or fedrep, layers; fedbn, normalisation; ditto, a model of its own; fine-tuning, at the end."""
    layers: list[str] | None = None
    """Layers that stay, by name or pattern, the last one if left out; of fine-tuning those that train, else all."""
    head_epochs: Count | None = None
    """Passes in which the layers that stay train alone with fedrep, 4 if left out."""
    pull: Annotated[float, Field(ge=0)] | None = None
    """Pull of a client's own model to the common one with ditto, 0.1 if left out; 0 is a model of the client alone."""
    epochs: Annotated[int, Field(ge=0, le=10)] | None = None
    """Passes of fine-tuning over a client's own rows after the last round, 5 if left out."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of the method that are set, by name."""
        return {key: value for key, value in self.model_dump(exclude={"name"}).items() if value is not None}

    @property
    def plan(self) -> Personal:
        """What is each client's own by the method that is named."""
        return build_personal(self.name, self.options)

    @model_validator(mode="after")
    def _options_are_those_of_the_method(self) -> PersonalSection:
        try:
            build_personal(self.name, self.options)
        except ConfigError as error:
            raise PydanticCustomError("unknown_method", "{fault}", {"fault": str(error)}) from error
        return self
