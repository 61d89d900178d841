"""What files of a run and of delivered models hold at least: readers check it, since it may have been edited."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel


class AboutData(BaseModel):
    """Say what run.json tells of the rows at least."""

    rows: int
    positives: int
    note: str


class AboutLayout(BaseModel):
    """Say what run.json tells of the model at least."""

    fingerprint: str
    parameters: int | None


class AboutFederation(BaseModel):
    """Say what run.json tells of the federation at least."""

    rounds: int


class AboutConfig(BaseModel):
    """Say what run.json tells of the configuration at least."""

    federation: AboutFederation


class About(BaseModel):
    """Say what run.json holds at least."""

    name: str
    created: str
    werkbund: str
    seed: int
    data: AboutData
    clients: list[str]
    layout: AboutLayout
    preparation: str
    config: AboutConfig
    compare: bool = True
    limits: list[str] = []


class Reception(BaseModel):
    """Say what result.json tells of a model that was offered to a plant."""

    accepted: bool | None
    reason: str


class RunResult(BaseModel):
    """Say what result.json holds at least."""

    rounds: int
    seconds: float
    metrics: dict[str, dict[str, Any] | None]
    delivered: dict[str, Reception] = {}


class CardModel(BaseModel):
    """Say what model_card.json tells of the model at least."""

    parameters: int | None


class WrittenCard(BaseModel):
    """Say what model_card.json holds at least."""

    model: CardModel


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


class JudgedHere(BaseModel):
    """Say what the card of a delivered model tells of how it was judged at the plant."""

    reason: str


class DeliveredCard(BaseModel):
    """Say what the card of a delivered model holds at least; `received` is a moment in ISO 8601."""

    received: Annotated[str, AfterValidator(_moment)]
    name: str
    here: JudgedHere


class NumberedLine(BaseModel):
    """Say what a line of rounds.jsonl holds at least."""

    round: int


FORMS: dict[str, Any] = {"run.json": About, "result.json": RunResult, "model_card.json": WrittenCard}
"""What the files of a run's folder hold at least; of others, that they hold an object."""
