"""The service answers as `predict` does, refuses what is malformed, and falls over nothing that is sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
import pytest
import schemathesis
import uvicorn
from httpx import Client
from hypothesis import given, settings
from prometheus_client.parser import text_string_to_metric_families
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from werkbund.data import rules
from werkbund.federation import Run
from werkbund.inference import Scorer
from werkbund.inference.service import MOST_BYTES, MOST_ROWS, service

pytestmark = pytest.mark.parametrize("done", ["mlp"], indirect=True)  # the service does not know of which kind it is


@contextmanager
def served(scorer: Scorer, done: Run, token: str | None = None) -> Iterator[Client]:
    """Serve a model at a free port of this machine, and yield who asks it."""
    config = uvicorn.Config(service(scorer, lambda: done.model, token), port=0, log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def client(scorer: Scorer, done: Run) -> Iterator[Client]:
    with served(scorer, done) as client:
        yield client


@pytest.fixture(scope="module")
def asked(scorer: Scorer, rows: pl.DataFrame) -> list[dict[str, Any]]:
    return rows.select(scorer.preparation.columns).to_dicts()


def test_single_rows_and_many_are_answered_as_predict_does(
    client: Client, scorer: Scorer, rows: pl.DataFrame, asked: list[dict[str, Any]]
) -> None:
    scored, costs = scorer.score(rows), scorer.expected_costs(scorer.score(rows))
    assert costs is not None
    many = client.post("/predict/batch", json={"rows": asked}).json()["answers"]
    one = client.post("/predict", json=asked[7]).json()
    assert [answer["probability"] for answer in many] == scored.probability.tolist()
    assert [answer["inspect"] for answer in many] == scored.inspect.tolist()
    assert [answer["expected_cost"] for answer in many] == costs.tolist()
    assert {key: one[key] for key in many[7]} == many[7]
    assert one["model"] == scorer.fingerprint


def test_it_says_why_when_asked(
    client: Client, scorer: Scorer, rows: pl.DataFrame, asked: list[dict[str, Any]]
) -> None:
    row = int(np.nanargmax(scorer.score(rows).probability))
    answer = client.post("/predict?explain=true", json=asked[row]).json()
    assert 1 <= len(answer["reasons"]) <= 3
    assert client.post("/predict", json=asked[row]).json()["reasons"] is None


def test_a_row_outside_is_answered_without_a_score_and_with_a_warning(
    client: Client, asked: list[dict[str, Any]]
) -> None:
    answer = client.post("/predict", json=asked[0] | {rules.TORQUE: 400, rules.TYPE: "X"})
    assert answer.status_code == 200
    told = answer.json()
    assert (told["probability"], told["inspect"], told["expected_cost"]) == (None, None, None)
    assert told["outside"] == [rules.TORQUE, rules.TYPE]
    assert [rules.TORQUE in told["warnings"][0], rules.TYPE in told["warnings"][1]] == [True, True]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: {key: value for key, value in row.items() if key != rules.TORQUE},
        lambda row: row | {rules.TORQUE: "much"},
        lambda row: row | {rules.TORQUE: "40"},
        lambda row: row | {rules.TORQUE: True},
        lambda row: row | {rules.TORQUE: [40]},
        lambda row: row | {rules.TYPE: 1.5},
        lambda row: [row],
        lambda row: None,
    ],
)
def test_what_is_malformed_is_refused(
    client: Client, asked: list[dict[str, Any]], spoil: Callable[[dict[str, Any]], Any]
) -> None:
    answer = client.post("/predict", content=json.dumps(spoil(asked[0])))
    assert answer.status_code == 422
    assert answer.json()["detail"]


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity", "1" + "0" * 400])
def test_numbers_that_are_none_are_refused(client: Client, asked: list[dict[str, Any]], number: str) -> None:
    body = json.dumps(asked[0] | {rules.TORQUE: "HERE"}).replace('"HERE"', number)
    assert client.post("/predict", content=body).status_code == 422


def test_too_much_at_once_is_refused(client: Client, asked: list[dict[str, Any]]) -> None:
    assert client.post("/predict/batch", json={"rows": [asked[0]] * (MOST_ROWS + 1)}).status_code == 422
    assert client.post("/predict/batch", json={"rows": []}).status_code == 422
    assert client.post("/predict", content=b" " * (MOST_BYTES + 1)).status_code == 413


def test_with_a_token_nobody_else_is_answered(scorer: Scorer, done: Run, asked: list[dict[str, Any]]) -> None:
    with served(scorer, done, "a-long-enough-token") as guarded:
        for path in ("/metrics", "/model", "/openapi.json"):
            assert guarded.get(path).status_code == 401
            assert guarded.get(path, headers={"Authorization": "Bearer a-long-enough-token"}).status_code == 200
        assert guarded.get("/metrics", headers={"Authorization": "Bearer another-token"}).status_code == 401
        assert guarded.post("/predict", json=asked[0]).status_code == 401
        assert guarded.get("/health").json()["status"] == "ok"


def test_prometheus_reads_what_was_done(scorer: Scorer, done: Run, asked: list[dict[str, Any]]) -> None:
    with served(scorer, done) as fresh:
        fresh.post("/predict/batch", json={"rows": [*asked[:9], asked[9] | {rules.TORQUE: 400}]})
        fresh.post("/predict", json={})
        fresh.get("/no-such-place")
        families = {family.name: family for family in text_string_to_metric_families(fresh.get("/metrics").text)}
    told = {tuple(sample.labels.values()): sample.value for sample in families["werkbund_requests"].samples}
    assert told["/predict/batch", "200"] == told["/predict", "422"] == told["other", "404"] == 1
    counted = [sample for sample in families["werkbund_rows"].samples if sample.name.endswith("_total")]
    rows = {sample.labels["result"]: sample.value for sample in counted}
    assert rows["outside"] == 1
    assert sum(rows.values()) == 10
    assert families["werkbund_request_seconds"].type == "histogram"


def test_the_model_tells_its_columns_units_and_ranges(client: Client, scorer: Scorer) -> None:
    told = client.get("/model").json()
    assert [each["name"] for each in told["inputs"]] == list(scorer.preparation.columns)
    torque = next(each for each in told["inputs"] if each["name"] == rules.TORQUE)
    assert (torque["unit"], torque["low"]) == ("Nm", 0)
    assert (torque["low"], torque["high"]) == scorer.domain.range_of(rules.TORQUE)


def _no_server_error(_context: Any, response: Any, _case: Any) -> None:
    assert response.status_code < 500


def test_whatever_the_description_allows_is_answered_without_a_server_error(client: Client) -> None:
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    operations = list(schema.get_all_operations())
    for found in operations:
        operation = found.ok()  # type: ignore[union-attr]

        @settings(max_examples=15, deadline=None)
        @given(operation.as_strategy())
        def answered(case: Any) -> None:
            case.call_and_validate(checks=[_no_server_error, status_code_conformance, response_schema_conformance])

        answered()
    assert len(operations) == 5
