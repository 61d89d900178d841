"""A model over HTTP: single rows, many rows, health, figures for Prometheus, described by OpenAPI.

What is malformed is refused with 422: a body that is no JSON, a column that is missing, a text for a number. A row
outside of what the model can know is no fault of the caller: 200, no score, a warning. With a token all but `/health`
needs it as `Authorization: Bearer TOKEN`, and is refused with 401 without.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, create_model
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from werkbund._version import __version__
from werkbund.core.arrays import Float64Array
from werkbund.inference.domain import Domain, number
from werkbund.inference.reasons import Reason, Reasons
from werkbund.inference.scorer import ScoredRows, Scorer
from werkbund.model.contract import Model

MOST_BYTES = 16 * 2**20
"""Of the body of a request."""

MOST_ROWS = 10_000
"""Rows of one request."""

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
_OPEN = "/health"
_ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"description": "The token is missing or wrong."},
    413: {"description": f"The body has more than {MOST_BYTES} bytes."},
    422: {"description": "The body is no JSON of the form described."},
}


class RowAnswer(BaseModel):
    """What the model says of one row; without a score where the row is outside of what it can know."""

    probability: Annotated[float | None, Field(description="Of the label.")]
    inspect: Annotated[bool | None, Field(description="Whether the probability reaches the threshold.")]
    expected_cost: Annotated[float | None, Field(description="Of this decision, if the probability is right.")]
    foretold: Annotated[float | None, Field(description="The number that is foretold, where one is.")]
    outside: Annotated[list[str], Field(description="Columns for which the row has no score.")]
    reasons: Annotated[list[str] | None, Field(description="What speaks for the decision, if it was asked for.")]


class SingleAnswer(RowAnswer):
    """What the model says of one row, with what is odd about it."""

    model: Annotated[str, Field(description="Fingerprint of the model.")]
    warnings: Annotated[list[str], Field(description="What is odd about the row.")]


class BatchAnswer(BaseModel):
    """What the model says of several rows, in their order."""

    model: Annotated[str, Field(description="Fingerprint of the model.")]
    answers: list[RowAnswer]
    warnings: Annotated[list[str], Field(description="What is odd about the rows, by column.")]


class ModelInput(BaseModel):
    """One column that the model reads."""

    name: str
    type: Literal["number", "category"]
    unit: str = ""
    low: float | None = None
    high: float | None = None
    levels: list[str] | None = None


class ServedModel(BaseModel):
    """What is served."""

    label: str
    model: Annotated[str, Field(description="Fingerprint of the model.")]
    threshold_probability: float
    inputs: list[ModelInput]


class Health(BaseModel):
    """Whether the service answers, and with which model."""

    status: Literal["ok"] = "ok"
    model: Annotated[str, Field(description="Fingerprint of the model.")]


class Meters:
    """Count what a service does, for Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("werkbund_requests", "Requests by path and status.", ["path", "status"])
        self.rows = self._counter("werkbund_rows", "Rows by what came of them.", ["result"])
        self.seconds = Histogram(
            "werkbund_request_seconds", "Time to answer.", ["path"], buckets=_BUCKETS, registry=self.registry
        )

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def count(self, scored: ScoredRows) -> None:
        """Count rows that were scored."""
        off, inspect = int(scored.outside.sum()), int(scored.inspect.sum())
        for result, rows in (("outside", off), ("inspect", inspect), ("no", len(scored.outside) - off - inspect)):
            self.rows.labels(result).inc(rows)


class Guard:
    """Ask for the token, and measure each request, around a service.

    Parameters
    ----------
    app
        The service.
    meters
        Get each request.
    token
        None where none is asked for.
    """

    def __init__(self, app: ASGIApp, meters: Meters, token: str | None) -> None:
        self._app, self._meters = app, meters
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            if self._lets_in(scope):
                await self._app(scope, receive, sent)
            else:
                refusal = Response('{"detail":"a token is needed"}', 401, media_type="application/json")
                refusal.headers["WWW-Authenticate"] = "Bearer"
                await refusal(scope, receive, sent)
        finally:
            route = scope.get("route")
            path = route.path if route is not None else "other"  # a stranger's paths must not become series
            self._meters.requests.labels(path, str(status)).inc()
            self._meters.seconds.labels(path).observe(time.perf_counter() - began)

    def _lets_in(self, scope: Scope) -> bool:
        if self._expected is None or scope["path"] == _OPEN:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        return secrets.compare_digest(given, self._expected)


class _Endpoints:
    """Answer requests.

    Parameters
    ----------
    scorer
        Scores rows.
    explained
        Returns the model itself, which says why.
    """

    def __init__(self, scorer: Scorer, explained: Callable[[], Model]) -> None:
        self.meters = Meters()
        self.row = row_type(scorer.domain)
        self.rows: type[BaseModel] = create_model(
            "Rows",
            rows=(list[self.row], Field(min_length=1, max_length=MOST_ROWS)),  # type: ignore[name-defined]
        )
        self._scorer, self._explained = scorer, explained

    async def predict(self, request: Request, explain: bool = False) -> SingleAnswer:
        """Score one row."""
        asked = [await _body(request, self.row)]
        told = await run_in_threadpool(self._answers, asked, explain) if explain else self._answers(asked, explain)
        one = dict(told.answers[0].__dict__)
        return SingleAnswer.model_construct(**one, model=told.model, warnings=told.warnings)

    async def predict_batch(self, request: Request, explain: bool = False) -> BatchAnswer:
        """Score many rows; other requests are answered meanwhile."""
        asked: Any = await _body(request, self.rows)
        return await run_in_threadpool(self._answers, asked.rows, explain)

    async def health(self) -> Health:
        """Say that the service answers."""
        return Health(model=self._scorer.fingerprint)

    async def about(self) -> ServedModel:
        """Say what the model reads, and in which units and ranges."""
        return model_of(self._scorer)

    async def metrics(self) -> Response:
        """Return figures in Prometheus' form."""
        return Response(generate_latest(self.meters.registry), media_type=CONTENT_TYPE_LATEST)

    def _answers(self, asked: Sequence[BaseModel], explain: bool) -> BatchAnswer:
        frame = frame_of(self._scorer.domain, asked)
        scored = self._scorer.score(frame)
        self.meters.count(scored)
        return answers_of(scored, self._scorer, self._reasons(frame, scored) if explain else None)

    def _reasons(self, frame: pl.DataFrame, scored: ScoredRows) -> Sequence[Sequence[Reason]]:
        told = Reasons(self._scorer.preparation).of(frame, self._model.explain(frame), scored.inspect)
        return [() if off else each for off, each in zip(scored.outside, told, strict=True)]

    @cached_property
    def _model(self) -> Model:
        return self._explained()


def service(scorer: Scorer, explained: Callable[[], Model], token: str | None = None) -> ASGIApp:
    """Return a service that answers as `scorer` does.

    Parameters
    ----------
    scorer
        Scores rows.
    explained
        Returns the model itself, which says why; it is called when somebody first asks.
    token
        Without which nobody is answered; None for everybody.
    """
    desk, title = _Endpoints(scorer, explained), f"Werkbund: {scorer.label}"
    app = FastAPI(title=title, version=__version__, docs_url=None, redoc_url=None, responses=_ERRORS)
    app.post("/predict", response_model=SingleAnswer, openapi_extra=_takes(desk.row))(desk.predict)
    app.post("/predict/batch", response_model=BatchAnswer, openapi_extra=_takes(desk.rows))(desk.predict_batch)
    app.get(_OPEN, response_model=Health)(desk.health)
    app.get("/model", response_model=ServedModel)(desk.about)
    app.get("/metrics", response_class=Response)(desk.metrics)
    return Guard(app, desk.meters, token)


def _takes(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the description of a body for OpenAPI."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    inner = schema.pop("$defs", {}).get("Row")
    if inner is not None:
        schema["properties"]["rows"]["items"] = inner
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def row_type(domain: Domain) -> type[BaseModel]:
    """Return the type of a row: every column that the model reads must be there; null stands for no reading."""
    learnt = domain.preparation
    fields: list[Any] = []
    for name in learnt.numeric:
        (low, high), unit = domain.range_of(name), domain.unit_of(name)
        text = f"{unit or 'number'}; scored from {number(low)} to {number(high)}"
        fields.append((FiniteFloat | None, Field(alias=name, title=name, description=text)))
    for name, levels in learnt.categories:
        fields.append((str | int | None, Field(alias=name, title=name, description=f"one of {', '.join(levels)}")))
    aliased = {f"column_{place}": field for place, field in enumerate(fields)}
    return create_model("Row", __config__=ConfigDict(extra="ignore", strict=True), **aliased)


def frame_of(domain: Domain, rows: Sequence[BaseModel]) -> pl.DataFrame:
    """Return rows of the type of `row_type` as a table in raw units."""
    learnt = domain.preparation
    told = [list(row.__dict__.values()) for row in rows]
    columns = zip(*told, strict=True)
    kinds = [pl.Float64] * len(learnt.numeric) + [pl.String] * len(learnt.categories)
    texts = [None] * len(learnt.numeric) + [str] * len(learnt.categories)
    return pl.DataFrame(
        [
            pl.Series(name, [value if text is None or value is None else text(value) for value in column], kind)
            for name, column, kind, text in zip(learnt.columns, columns, kinds, texts, strict=True)
        ]
    )


def model_of(scorer: Scorer) -> ServedModel:
    """Return what a scorer reads and decides."""
    domain, learnt = scorer.domain, scorer.preparation
    numbers = [(name, domain.unit_of(name), *domain.range_of(name)) for name in learnt.numeric]
    inputs = [ModelInput(name=name, type="number", unit=unit, low=low, high=high) for name, unit, low, high in numbers]
    inputs += [ModelInput(name=name, type="category", levels=list(levels)) for name, levels in learnt.categories]
    told = (scorer.label, scorer.fingerprint, scorer.threshold_probability)
    return ServedModel(label=told[0], model=told[1], threshold_probability=told[2], inputs=inputs)


def answers_of(scored: ScoredRows, scorer: Scorer, reasons: Sequence[Sequence[Reason]] | None) -> BatchAnswer:
    """Return what a scorer said of rows as an answer."""
    count = len(scored.probability)
    costs, foretold = scorer.expected_costs(scored), scored.foretold
    columns = [
        _finite(scored.probability, count),
        [None if off else bool(inspect) for off, inspect in zip(scored.outside, scored.inspect, strict=True)],
        _finite(costs, count),
        _finite(foretold, count),
        scored.columns_outside(),
        [None] * count if reasons is None else [[reason.text for reason in told] for told in reasons],
    ]
    names = list(RowAnswer.model_fields)
    rows = zip(*columns, strict=True)
    answers = [RowAnswer.model_construct(**dict(zip(names, row, strict=True))) for row in rows]
    return BatchAnswer(model=scorer.fingerprint, answers=answers, warnings=[odd.text for odd in scored.oddities])


def _finite(values: Float64Array | None, count: int) -> list[float | None]:
    if values is None:
        return [None] * count
    return [float(value) if np.isfinite(value) else None for value in values]


async def _body(request: Request, kind: type[BaseModel]) -> BaseModel:
    """Return the body of a request as a value of this type.

    Raises
    ------
    HTTPException
        If it is too large.
    RequestValidationError
        If it is of another form.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"the body must have at most {MOST_BYTES} bytes; send fewer rows at a time")
    try:
        return kind.model_validate_json(bytes(body))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError(faults) from error
