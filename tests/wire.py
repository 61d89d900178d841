"""Messages read without knowing what was asked, and what of an answer is declared to leave."""

from __future__ import annotations

import json
from collections.abc import Collection

from werkbund.core.kinds import Half, Kind, by_name
from werkbund.federation.asking import Asks, is_asked
from werkbund.flower.wire.codec import MOST_SMALL_BYTES, WHO, Answer, Ask, decode_answer, decode_ask
from werkbund.flower.wire.parcel import Parcel
from werkbund.plant.leaving import ANY, KINDS, leaving

KNOWN = by_name((*KINDS, WHO))
"""The kinds of tasks that plants know, by name."""


def kind_of(name: str) -> Kind:
    """Return the kind of this name; one that declares nothing if plants know none."""
    return KNOWN.get(name, Kind(name))


Leaving = tuple[str, str, str]
"""Names of a kind, a half of its answer, and a field."""


def read_ask(parcel: Parcel) -> Ask:
    """Read a task of any kind that plants know."""
    return decode_ask(parcel, KNOWN)


def read_answer(parcel: Parcel, vector_bytes: int = MOST_SMALL_BYTES, asked: Kind | None = None) -> Answer:
    """Read an answer to a task of the kind that it names, which is the one that was asked or one that plants know."""
    try:
        name = str(json.loads(parcel.head).get("kind"))
    except (ValueError, AttributeError, RecursionError):
        name = ""
    return decode_answer(parcel, asked if asked and name in (asked.name, "") else kind_of(name), vector_bytes)


def declared(kind: Kind, half: Half, name: str) -> Leaving:
    """Return the field as which an array of an answer is declared; its own name if it is not."""
    field = kind.answered(half, name)
    return kind.name, half, field.name if field else name


def announced(signals: Collection[str], asks: Asks) -> set[Leaving]:
    """Return what a plant says that leaves it in such a run, beside what stands in each answer."""
    fields = leaving(KINDS, signals)
    return {(kind.name, one.half, one.name) for kind, one in fields if kind != ANY and is_asked(kind, one, asks)}
