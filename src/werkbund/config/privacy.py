"""The section that says what answers may tell of a client and of its rows, and what of other sections goes with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from werkbund.config.models import ClustersSection, PersonalSection
from werkbund.config.rows import Section

TREES = ("trees", "forest", "extra-trees")

DELTAS = {"row": 1e-5, "machine": 1e-3, "plant": 1e-2}
"""The delta of a promise by its unit, where none is set: below one over the number of units that there are."""


PROMISE_NOTHING = {
    "unit": "none",
    "noise_multiplier": None,
    "target_epsilon": None,
    "shared_noise": False,
    "adaptive_clip": False,
}
"""Keys of a section without any promise."""


@dataclass(frozen=True)
class Surroundings:
    """Hold what of other sections must go with the section of privacy.

    Parameters
    ----------
    kind, initial, positive_weight, step_bound, one_step, close, clusters, personal, clip_norm, contributions, attack
        Values of `model.kind`, `model.initial`, `training.positive_weight`, `training.clip_norm`; whether
        `training.optimizer`, `training.epochs` and `training.steps` let a round be one step; `strategy.pace.close`,
        `strategy.clusters`, `strategy.personal`, `strategy.aggregation.clip_norm`, `evaluation.contributions` and
        `attack.kind`.
    """

    kind: str
    initial: str
    positive_weight: str | float
    step_bound: float | None
    one_step: bool
    close: str
    clusters: ClustersSection
    personal: PersonalSection
    clip_norm: float | None
    contributions: bool
    attack: str


class PrivacySection(Section):
    """Say what a server learns of each client's answers, and what these may tell of a row, a machine or a plant."""

    secure_sums: bool = False
    """Whether the server learns updates, counts, statistics and trees as sums over 3 clients or more, and no others."""
    colluding: Annotated[int, Field(ge=0)] | None = None
    """Clients that may work together with the server against the others; fewer than a third if left out."""
    strict: bool = False
    """Whether clients agree on who is in a sum before they open it: one more message each."""
    unit: Literal["none", "row", "machine", "plant"] = "none"
    """What training must not tell of (differential privacy): none, a row, a machine with all its rows, or a plant."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Longest gradient of a row, 1, or of a machine, 5 for 80 rows; of a plant, longest update."""
    noise_multiplier: Annotated[float, Field(ge=0)] | None = None
    """Standard deviation of the noise in multiples of `clip`; 0 clips alone and protects nobody."""
    target_epsilon: Annotated[float, Field(gt=0)] | None = None
    """Epsilon of each plant: noise follows from it; with `noise_multiplier` the run stops before it is exceeded."""
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Chance beside epsilon: 1e-5 for rows, 1e-3 for machines, 1e-2 for plants if left out."""
    shared_noise: bool = False
    """Whether each plant adds a share of the noise inside secure sums; with row or machine a round is one step."""
    adaptive_clip: bool = False
    """Whether the bound of a plant's update follows the middle length of updates from `clip` on; unit plant."""
    seeded: bool = False
    """Draw noise by the run's seed, which the server knows: for tests in process alone, protects nobody."""

    @property
    def promised_delta(self) -> float:
        """The delta of the promise."""
        return DELTAS.get(self.unit, 1e-5) if self.delta is None else self.delta

    @model_validator(mode="after")
    def _noise_is_said_where_there_is_a_unit(self) -> PrivacySection:
        noise, target = self.noise_multiplier, self.target_epsilon
        if self.unit == "none" and (noise is not None or target is not None):
            raise ValueError(
                "privacy.unit must be row, machine or plant where privacy.noise_multiplier or privacy.target_epsilon "
                "is set, got 'none'"
            )
        if self.unit != "none" and noise is None and target is None:
            raise ValueError(
                f"privacy.target_epsilon or privacy.noise_multiplier must be set with privacy.unit = {self.unit!r}, "
                "but both are missing; a usual choice is target_epsilon = 8"
            )
        if self.shared_noise and (self.unit == "none" or self.seeded):
            raise ValueError(
                "privacy.shared_noise must be false without privacy.unit, and with privacy.seeded: shares are drawn by "
                f"plants alone; got unit {self.unit!r}, seeded {self.seeded}"
            )
        if self.adaptive_clip and self.unit != "plant":
            raise ValueError(
                f"privacy.adaptive_clip must be false unless privacy.unit is plant, got unit {self.unit!r}: lengths of "
                "gradients are told nowhere"
            )
        if noise == 0 and target is not None:
            raise ValueError("privacy.noise_multiplier must be > 0 with privacy.target_epsilon, got 0.0")
        return self

    def refusal(self, around: Surroundings) -> str:
        """Return what a run cannot have with what this section says, and in whose place; empty where nothing is.

        Of methods of selection and rules of aggregation their own declarations say it, see `engine.secured` and
        `engine.promise`.
        """
        if self.secure_sums and (broken := _beside_sums(around)):
            return f"{broken}; or set privacy.secure_sums = false"
        if self.unit != "none" and (broken := _beside_noise(around, self.unit)):
            return f"{broken}; or set privacy.unit = 'none'"
        if self.shared_noise and (broken := self._beside_shares(around)):
            return f"{broken}; or set privacy.shared_noise = false"
        return ""

    def _beside_shares(self, around: Surroundings) -> str:
        """Return which rules are broken where plants share noise."""
        return _broken(
            (
                (
                    not self.secure_sums,
                    "privacy.secure_sums must be true with privacy.shared_noise: outside a sum each share is too small",
                ),
                (
                    self.unit != "plant" and not around.one_step,
                    "training.optimizer must be sgd, training.epochs 1 and training.steps left out with "
                    "privacy.shared_noise: a round is one step over all units, and strategy.aggregation may be fedadam",
                ),
            )
        )


Rule = tuple[bool, str]
"""Whether it is broken, and what it says."""


def _broken(rules: tuple[Rule, ...]) -> str:
    return "; ".join(rule for is_broken, rule in rules if is_broken)


def _beside_sums(around: Surroundings) -> str:
    """Return which rules are broken where a server learns sums alone."""
    name, clip, close = around.clusters.name, around.clip_norm, around.close
    return _broken(
        (
            (
                close != "all",
                f"strategy.pace.close must be all, got {close!r}: a sum is over the cohort that masked it",
            ),
            (
                around.clusters.method is not None,
                f"strategy.clusters.name must be none, got {name!r}: clusters follow from what single clients tell, "
                "and are small; personal parts (strategy.personal) give each its own without that",
            ),
            (_from_a_client(around), f"model.initial must be random or a path, got {around.initial!r}: {_ALONE}"),
            (around.contributions, "evaluation.contributions must be false: it ends rounds without single updates"),
            (
                clip is not None,
                f"strategy.aggregation.clip_norm must be left out, got {clip}: the server sees no single one to "
                "shorten; set training.clip_norm, by which clients bound their steps",
            ),
            (
                around.attack != "none",
                f"attack.kind must be none, got {around.attack!r}: attacks test rules that see single updates",
            ),
        )
    )


def _beside_noise(around: Surroundings, unit: str) -> str:
    """Return which rules are broken where training is noised for a unit."""
    weight, name, personal = around.positive_weight, around.clusters.name, around.personal.name
    of_plants, at_plants = unit == "plant", unit != "plant"
    return _broken(
        (
            (
                around.kind in TREES,
                f"model.kind must be a network with privacy.unit, got {around.kind!r}: cells of trees are not noised; "
                "take mlp or logistic, or trees with privacy.secure_sums and no unit",
            ),
            (_from_a_client(around), f"model.initial must be random or a path, got {around.initial!r}: {_ALONE}"),
            (
                isinstance(weight, str) and weight != "none",
                f"training.positive_weight must be none or a number, got {weight!r}, which follows counts of failures "
                "that are not noised",
            ),
            (
                around.step_bound is not None and at_plants,
                f"training.clip_norm must be left out, got {around.step_bound}: privacy.clip bounds each unit's part",
            ),
            (
                name != "none",
                f"strategy.clusters.name must be none, got {name!r}: clusters follow from losses or updates",
            ),
            (personal != "none", f"strategy.personal.name must be none, got {personal!r}: its passes are not charged"),
            (
                of_plants and around.close != "all",
                f"strategy.pace.close must be all with privacy.unit = 'plant', got {around.close!r}: noise is added to "
                "the sum of a whole cohort",
            ),
            (
                of_plants and (around.contributions or around.clip_norm is not None),
                "evaluation.contributions must be false and strategy.aggregation.clip_norm left out with privacy.unit "
                "= 'plant': both read single updates",
            ),
        )
    )


_ALONE = "one client's weights would be seen without the others'"


def _from_a_client(around: Surroundings) -> bool:
    return around.initial.partition(":")[0] == "client"
