"""What a client said to the server, read out of the bytes that it sent: Flower's requests, and our answers in them.

A client pushes an answer in parts. It first names them (`push-messages`: a tree of hashes), then sends those that the
server does not have yet (`push-object`). A task comes in the same way. Flower's own functions put the parts together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import Message
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from tests.flower.http_capture import requests_in, responses_in
from tests.flower.proxy import Recording
from tests.wire import declared, kind_of, read_answer
from werkbund.core.arrays import AnyArray, Arrays
from werkbund.core.kinds import Half
from werkbund.flower.wire.codec import Answer
from werkbund.flower.wire.parcel import Parcel
from werkbund.flower.wire.records import from_records

_FLEET = "/v1/fleet/"
PULL, PULL_PART, CONFIRM = f"{_FLEET}pull-messages", f"{_FLEET}pull-object", f"{_FLEET}confirm-message-received"
PUSH, PUSH_PART = f"{_FLEET}push-messages", f"{_FLEET}push-object"
_KINDS: dict[str, tuple[Any, Any]] = {
    PULL: (PullMessagesRequest, PullMessagesResponse),
    PULL_PART: (PullObjectRequest, PullObjectResponse),
    CONFIRM: (ConfirmMessageReceivedRequest, ConfirmMessageReceivedResponse),
    PUSH: (PushMessagesRequest, PushMessagesResponse),
    PUSH_PART: (PushObjectRequest, PushObjectResponse),
}

Announced = tuple[str, str, str]
"""Kind, half and name of a field."""


@dataclass(frozen=True)
class Called:
    """Hold one request to Flower's server, and its response.

    Parameters
    ----------
    path
        Of the server's.
    asked, given
        Flower's messages; None for paths over which no message of ours goes.
    up, down
        Bytes of the request and of the response, with their headers.
    """

    path: str
    asked: Any
    given: Any
    up: int
    down: int


@dataclass(frozen=True)
class Said:
    """Hold one message of a client.

    Parameters
    ----------
    kind, round
        Of the task, as its head says.
    parcel
        Its content.
    answer
        The same, decoded.
    question, number
        Hashes of the task's message and of this one.
    """

    kind: str
    round: int
    parcel: Parcel
    answer: Answer
    question: str
    number: str

    @property
    def arrays(self) -> dict[tuple[Half, str], AnyArray]:
        """All arrays, by half and name; a pooled one is a sum."""
        replies = self.answer.replies
        if replies is None:
            return {}
        parts: tuple[tuple[Half, Arrays], ...] = (
            ("sums", replies.sums),
            ("sums", replies.pooled),
            ("clear", replies.clear),
        )
        return {(half, name): array for half, named in parts for name, array in named.items()}

    @property
    def fields(self) -> set[Announced]:
        """All arrays as they are declared; the head is a field of any kind."""
        return {("any", "clear", "head"), *(declared(kind_of(self.kind), half, name) for half, name in self.arrays)}


@dataclass(frozen=True)
class Cost:
    """Hold how many bytes a task and its answer took on the wire, HTTP included, without questions for work.

    Parameters
    ----------
    down, up
        Bytes that came to the client, and that left it.
    content_down, content_up
        Those of the two parcels alone.
    """

    down: int
    up: int
    content_down: int
    content_up: int


def calls(connections: Iterable[Recording]) -> list[Called]:
    """Return all requests of a client to Flower's server that were answered."""
    return [call for connection in connections for call in _calls(connection)]


def said(called: Iterable[Called]) -> list[Said]:
    """Return all messages of a client, in the order in which it sent them.

    Raises
    ------
    AssertionError
        If it sent something that is no part of one of them.
    """
    called = list(called)
    parts = {call.asked.object_id: call.asked.object_content for call in called if call.path == PUSH_PART}
    trees = {tree.object_id: tree for call in called if call.path == PUSH for tree in call.asked.message_object_trees}
    assert set(parts) <= {number for tree in trees.values() for number in _numbers(tree)}
    messages = []
    for number in trees:
        message = _message(number, parts)
        if not message.has_error():
            parcel, question = from_records(message.content), message.metadata.reply_to_message_id
            head = json.loads(parcel.head)
            messages.append(Said(head["kind"], head["round"], parcel, read_answer(parcel), question, number))
    return messages


def cost_of(answer: Said, called: Iterable[Called]) -> Cost:
    """Return what a task and its answer took."""
    called = list(called)
    trees = {tree.object_id: tree for call in called if call.path == PULL for tree in call.given.message_object_trees}
    trees |= {tree.object_id: tree for call in called if call.path == PUSH for tree in call.asked.message_object_trees}
    asked, parts = set(_numbers(trees[answer.question])), set(_numbers(trees[answer.number]))
    own = [call for call in called if _of(call) & (asked if call.path in (PULL, PULL_PART, CONFIRM) else parts)]
    given = {call.asked.object_id: call.given.object_content for call in own if _is_part(call)}
    task = from_records(_message(answer.question, given).content)
    down, up = sum(call.down for call in own), sum(call.up for call in own)
    return Cost(down, up, task.num_bytes, answer.parcel.num_bytes)


def announced(leaving: Iterable[Mapping[str, Any]]) -> set[Announced]:
    """Return the fields that `werkbund client check --json` lists, of those that the run agreed on asks for."""
    return {(field["kind"], field["half"], field["field"]) for field in leaving if field["asked"]}


def _calls(connection: Recording) -> Iterator[Called]:
    for request, response in zip(requests_in(connection.sent), responses_in(connection.received), strict=False):
        if request.complete and response.complete and response.status == 200:
            kinds = _KINDS.get(request.path)
            asked = None if kinds is None else kinds[0].FromString(request.body)
            given = None if kinds is None else kinds[1].FromString(response.body)
            yield Called(request.path, asked, given, request.num_bytes, response.num_bytes)


def _is_part(call: Called) -> bool:
    """Say whether a part of a task came; a plant may ask for it before the server has it."""
    return call.path == PULL_PART and bool(call.given.object_available)


def _of(call: Called) -> set[str]:
    """Return the hashes that a request is about."""
    if call.path in (PULL, PUSH):
        trees = call.given.message_object_trees if call.path == PULL else call.asked.message_object_trees
        return {tree.object_id for tree in trees}
    if call.path in (PULL_PART, PUSH_PART):
        return {call.asked.object_id}
    return {call.asked.message_object_id} if call.path == CONFIRM else set()


def _numbers(tree: ObjectTree) -> Iterator[str]:
    yield tree.object_id
    for child in tree.children:
        yield from _numbers(child)


def _message(number: str, parts: dict[str, bytes]) -> Message:
    message = inflate_object_from_contents(number, parts, keep_object_contents=True)
    assert isinstance(message, Message)
    return message
