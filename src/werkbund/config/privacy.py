"""The section that says what of clients' answers a server may see, and what of other sections goes with it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from werkbund.config.models import ClustersSection
from werkbund.config.rows import Section


class PrivacySection(Section):
    """Say what a server learns of each client's answers, beyond what it must."""

    secure_sums: bool = False
    """Whether the server learns updates, counts, statistics and trees as sums over 3 clients or more, and no others."""
    colluding: Annotated[int, Field(ge=0)] | None = None
    """Clients that may work together with the server against the others; fewer than a third if left out."""
    strict: bool = False
    """Whether clients agree on who is in a sum before they open it: one more message each."""


def refused_with_sums(
    close: str, clusters: ClustersSection, initial: str, contributions: bool, clip_norm: float | None, attack: str
) -> str:
    """Return what a run cannot have where a server learns sums alone, and in whose place; empty where nothing is.

    Of methods of selection and rules of aggregation their own declarations say it, see `engine.state.Strategy`.

    Parameters
    ----------
    close, clusters, initial, contributions, clip_norm, attack
        Values of `strategy.pace.close`, `strategy.clusters`, `model.initial`, `evaluation.contributions`,
        `strategy.aggregation.clip_norm` and `attack.kind`.
    """
    name = clusters.name
    rules = (
        (close != "all", f"strategy.pace.close must be all, got {close!r}: a sum is over the cohort that masked it"),
        (
            clusters.method is not None,
            f"strategy.clusters.name must be none, got {name!r}: clusters follow from what single clients tell, and "
            "are small; personal parts (strategy.personal) give each its own without that",
        ),
        (
            initial.partition(":")[0] == "client",
            f"model.initial must be random or a path, got {initial!r}: one client's weights are in no sum",
        ),
        (contributions, "evaluation.contributions must be false: it ends rounds without single updates"),
        (
            clip_norm is not None,
            f"strategy.aggregation.clip_norm must be left out, got {clip_norm}: the server sees no single one to "
            "shorten; set training.clip_norm, by which clients bound their steps",
        ),
        (attack != "none", f"attack.kind must be none, got {attack!r}: attacks test rules that see single updates"),
    )
    return "; ".join(rule for is_broken, rule in rules if is_broken)
