"""What a client must know about a run before it can do a task of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from werkbund.config.reading import SERVERS_OWN, check_config
from werkbund.config.sections import Config
from werkbund.core.errors import ClientError, FederationError
from werkbund.data import Preparation, Schema
from werkbund.data.schema_json import schema_from_json, schema_to_json
from werkbund.engine import Grid


@dataclass(frozen=True)
class Briefing:
    """Tell a client what the run is about.

    Parameters
    ----------
    run
        Names the run; the same after a resume.
    config
        The federation's, without where the server's data lie.
    number
        The client's number, which its split and its draws follow.
    mode_names
        The failure modes that all clients count, in this order.
    preparation
        The common preparation; None before it is learnt.
    schema
        What the columns of all clients' tables must mean; None before they have been asked.
    labels
        (without failure, with failure): training rows of all clients together, which the loss may be weighted by.
    """

    run: str
    config: Config
    number: int
    mode_names: tuple[str, ...] = ()
    schema: Schema | None = None
    preparation: Preparation | None = None
    labels: tuple[int, int] = (0, 0)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ as soon as anything in it does."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return what travels, as values that JSON holds."""
        return {
            "run": self.run,
            "config": self.config.model_dump(),  # all of it: a resumed run reads it from a file that says every key
            "number": self.number,
            "mode_names": list(self.mode_names),
            "schema": None if self.schema is None else schema_to_json(self.schema),
            "preparation": None if self.preparation is None else self.preparation.to_json(),
            "labels": list(self.labels),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Briefing:
        """Read and check what a server wrote.

        Raises
        ------
        ClientError
            If it is incomplete, or its configuration breaks a rule of this version.
        """
        try:
            preparation, schema = values["preparation"], values["schema"]
            without, with_failure = map(int, values["labels"])
            return cls(
                str(values["run"]),
                check_config(values["config"]),
                int(values["number"]),
                tuple(map(str, values["mode_names"])),
                None if schema is None else schema_from_json(schema),
                None if preparation is None else Preparation.from_json(preparation),
                (without, with_failure),
            )
        except FederationError as error:
            raise ClientError(f"this version cannot follow the server's run: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ClientError(f"the server's description of the run is incomplete: {error!r}") from error


class BriefedGrid(Grid, Protocol):
    """Reach clients that live elsewhere."""

    def brief(self, tell: Callable[[int], Briefing]) -> None:
        """Set what each client, by number, must know from now on; it is sent along until the client has it."""


def for_clients(config: Config, weighting: str | None = None) -> Config:
    """Return a configuration without what is the server's own business: where data lie, who trains, its own code.

    Parameters
    ----------
    config
        The federation's.
    weighting
        How clients weight their updates, where an aggregator of the server's own says so; None where nobody asked it.
        Such an aggregator is code that runs at the server alone, so clients are told its weighting in place of it.
    """
    values = config.model_dump(exclude_unset=True)
    for key in SERVERS_OWN:
        section, _, name = key.rpartition(".")
        (values.get(section, {}) if section else values).pop(name, None)
    if ":" in config.strategy.aggregation.name:
        values["strategy"]["aggregation"] = {} if weighting is None else {"weighting": weighting}
    return check_config(values)
