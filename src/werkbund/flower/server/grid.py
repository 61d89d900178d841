"""The grid over Flower: tasks become messages to nodes, and their answers come back as they arrive."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from flwr.app import Message, Metadata
from flwr.serverapp import Grid as FlowerApi

from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.core.text import one_line
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine.asking import ENOUGH, NO_ANSWER
from werkbund.flower.server.mailbox import Mailbox, is_answer_to, is_lost
from werkbund.flower.server.nodes import BusyClients, Directory
from werkbund.flower.wire.codec import MOST_SMALL_BYTES, Answer, Ask, decode_answer, encode_ask
from werkbund.flower.wire.records import from_records, to_records
from werkbund.ledger import Receipts
from werkbund.plant.briefing import Briefing

_PAUSE_S = 0.1
_TRAIN, _EVALUATE, _QUERY = "train", "evaluate", "query"
"""Flower's own kinds of messages; all of them reach the same function of ours."""
_LARGEST_NUMBER = 8
_OFFLINE = 5
_KNOWN_ERRORS = {
    7: "it does not approve the app bundle",
    8: "its worker process crashed",
}


@dataclass(frozen=True)
class _Sent:
    client: int
    ask: Ask
    asked: Metadata
    since: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since


@dataclass
class Traffic:
    """Count what went over the grid, in bytes of content and in messages."""

    down: int = 0
    up: int = 0
    messages: int = 0


class FlowerGrid:
    """Reach plants through Flower's SuperLink.

    How long a client took, from when it was asked to when its answer was here, is measured and told with the answer
    where that is asked for. Of tasks of which only some answers are wanted, those that come later are not waited for.

    A client that is offline fails at once. One that still owes an answer to an earlier task is not asked again until it
    has given a sign of life, so that a client that hangs costs one round its time, and the later ones nothing.

    Parameters
    ----------
    grid
        Flower's.
    names
        The clients' names; a client's number is its place.
    timeout_s
        Seconds for which a task is worth doing.
    directory
        One that knows nodes by name already; None for a new one.
    receipts
        Keep what answers say of their plants' ledgers; None keeps nothing.
    """

    def __init__(
        self,
        grid: FlowerApi,
        names: tuple[str, ...],
        timeout_s: float,
        directory: Directory | None = None,
        receipts: Receipts | None = None,
    ) -> None:
        self._grid, self._names, self._timeout_s = grid, names, timeout_s
        self.directory = directory or Directory(grid)
        self.traffic = Traffic()
        self._receipts = receipts
        self._briefing_of: Callable[[int], Briefing] | None = None
        self._briefed: dict[int, str] = {}
        self._failed: list[Failure] = []
        self._waiting: dict[str, _Sent] = {}
        self._here: deque[Message] = deque()
        self._mailbox = Mailbox(grid)
        self._busy = BusyClients(grid, self._mailbox)

    def clients(self) -> tuple[str, ...]:
        """Return the clients' names."""
        return self._names

    def doubt(self) -> None:
        """Hold that no client is there before it gives a sign of life; see `ready`.

        Flower counts a client as online for a while after the last it heard of it: when a run goes on after an outage,
        that may be long gone.
        """
        for client in range(len(self._names)):
            self._busy.add("", client, "what it was asked before the run went on")

    def ready(self) -> frozenset[str]:
        """Return the clients that are online and owe no answer; those that owe one are asked for a sign of life."""
        online = self._look()
        owing = self._busy.tasks()
        return frozenset(name for client, name in enumerate(self._names) if name in online and client not in owing)

    def brief(self, tell: Callable[[int], Briefing]) -> None:
        """Set what each client must know from now on."""
        self._briefing_of = tell

    def send(self, tasks: Tasks) -> None:
        """Ask each of the tasks' clients that is online and free."""
        online = self._look()
        busy = self._busy.tasks() | {sent.client: _in_words(sent.ask) for sent in self._waiting.values()}
        messages: list[tuple[_Sent, Message]] = []
        for place, client in enumerate(tasks.clients.tolist()):
            name = self._names[client]
            if name not in online:
                self._failed.append(Failure(client, tasks.round, "is offline"))
            elif name in self.directory.conflicts:
                self._failed.append(Failure(client, tasks.round, self._conflict(name)))
            elif client in busy:
                self._failed.append(Failure(client, tasks.round, f"is still busy with {busy[client]}"))
            else:
                messages.append(self._message(tasks.take(slice(place, place + 1)), online[name]))
        self._push(messages)

    def _look(self) -> dict[str, int]:
        """Return the nodes that are online, by name; clients that have answered late are free again before that."""
        online = self.directory.online()
        self._busy.look({client: online[name] for client, name in enumerate(self._names) if name in online})
        return online

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        """Yield answers and failures as they arrive, until none is owed or the time is over.

        Who stops reading before leaves the rest to the next call.
        """
        deadline, came = time.monotonic() + timeout_s, Counter[Kind]()
        while True:
            yield from self._taken_failures()
            yield from self._given_up(came)
            if not self._waiting or time.monotonic() >= deadline:
                break
            arrived = self._mailbox.pull(list(self._waiting), deadline - time.monotonic())
            self._here.extend(arrived)
            while self._here:
                for arrival in self._arrived(self._here.popleft()):
                    came.update([arrival.kind] if isinstance(arrival, Replies) else [])
                    yield arrival
            if not arrived:
                time.sleep(min(_PAUSE_S, max(deadline - time.monotonic(), 0.0)))
        for number, sent in self._waiting.items():
            self._busy.add(number, sent.client, _in_words(sent.ask))
        self._waiting = {}

    def _given_up(self, came: Mapping[Kind, int]) -> Iterator[Failure]:
        """Yield a failure for each client whose answer is no longer wanted, because enough others have come."""
        for number, sent in list(self._waiting.items()):
            tasks = sent.ask.tasks
            if tasks.keep is not None and came[tasks.kind] >= tasks.keep:
                del self._waiting[number]
                self._busy.add(number, sent.client, _in_words(sent.ask))
                yield Failure(sent.client, tasks.round, ENOUGH, sent.seconds)

    def _conflict(self, name: str) -> str:
        """Return why none of several clients of one name is asked: nothing tells which of them is meant."""
        number = self.directory.conflicts[name]
        return f"{number} clients say that they are {name}; stop all but one (one that was stopped counts for a minute)"

    def _message(self, tasks: Tasks, node: int, with_brief: bool = False) -> tuple[_Sent, Message]:
        client = int(tasks.clients[0])
        if self._briefing_of is None:
            raise ClientError("a grid must be briefed before it is asked to send; call brief() first")
        briefing = self._briefing_of(client)
        known = self._briefed.get(client) == briefing.fingerprint and not with_brief
        brief = None if known else briefing.to_json()
        ask = Ask(briefing.run, self._names[client], tasks, briefing.fingerprint, brief)
        parcel = encode_ask(ask)
        self.traffic.down += parcel.num_bytes
        self.traffic.messages += 1
        kind = _TRAIN if tasks.kind.updates else _EVALUATE if tasks.kind.measures else _QUERY
        group = str(tasks.round)
        records = to_records(parcel)
        message = Message(records, dst_node_id=node, message_type=kind, ttl=self._timeout_s, group_id=group)
        return _Sent(client, ask, message.metadata, time.monotonic()), message

    def _push(self, messages: list[tuple[_Sent, Message]]) -> None:
        if not messages:
            return
        ids = list(self._grid.push_messages([message for _, message in messages]))
        if not any(ids):
            self.directory.online()  # a run that was stopped a moment ago takes no message; asked anew, Flower says so
        for (sent, _), number in zip(messages, ids or [None] * len(messages), strict=True):
            if not number:  # Flower leaves the place of a message that it does not take empty
                self._failed.append(Failure(sent.client, sent.ask.tasks.round, "its message could not be delivered"))
            else:
                self._waiting[number] = sent

    def _arrived(self, message: Message) -> Iterator[Replies | Failure]:
        number = message.metadata.reply_to_message_id
        sent = self._waiting.get(number)
        if sent is None:
            self._busy.hear(message)
            return
        if not is_answer_to(message, sent.asked):  # somebody else's word is none of the client's
            return
        del self._waiting[number]
        round, seconds = sent.ask.tasks.round, sent.seconds
        if is_lost(message):  # its time was over a moment before the round's
            self._busy.add("", sent.client, _in_words(sent.ask))
            yield Failure(sent.client, round, NO_ANSWER, seconds)
            return
        try:
            answer = self._answer(message, sent)
        except ClientError as error:
            yield Failure(sent.client, round, str(error), seconds)
            return
        if answer.code == "briefing" and sent.ask.brief is None:
            node = int(message.metadata.src_node_id)
            self._push([self._message(sent.ask.tasks, node, with_brief=True)])
        elif answer.replies is None:
            yield Failure(sent.client, round, answer.reason or answer.code, seconds)
        else:
            self._briefed[sent.client] = sent.ask.briefing
            yield _timed(answer.replies, sent.ask.tasks, seconds)

    def _answer(self, message: Message, sent: _Sent) -> Answer:
        """Return the answer in a message.

        Raises
        ------
        ClientError
            If there is none, or it answers something else.
        """
        if message.has_error():
            code, reason = message.error.code, one_line(message.error.reason or "")
            if code == _OFFLINE:
                raise ClientError("went offline before it had answered")
            raise ClientError(reason or _KNOWN_ERRORS.get(code, f"failed with Flower's code {code}"))
        parcel = from_records(message.content)
        self.traffic.up += parcel.num_bytes
        answer = decode_answer(parcel, sent.ask.tasks.kind, _vector_bytes(sent.ask.tasks))
        replies, tasks = answer.replies, sent.ask.tasks
        if self._receipts is not None and answer.ledger is not None and answer.name == sent.ask.name:
            self._receipts.keep(answer.name, answer.ledger, tasks.kind.name, tasks.round)
        if answer.name != sent.ask.name:
            raise ClientError(f"an answer of {answer.name[:100]!r} came instead; two clients may use the same key")
        if replies is not None and (replies.kind, replies.round, replies.clients.tolist()) != (
            tasks.kind,
            tasks.round,
            tasks.clients.tolist(),
        ):
            raise ClientError(f"it answered its {replies.kind} task of round {replies.round} instead")
        return answer

    def _taken_failures(self) -> Iterator[Failure]:
        while self._failed:
            yield self._failed.pop(0)


def _vector_bytes(tasks: Tasks) -> int:
    """Return how long the vector of an answer may be: as long as the one that was sent, of the largest numbers."""
    name = tasks.kind.vector_asked
    sent = tasks.own.get(name, tasks.shared.get(name))
    return MOST_SMALL_BYTES if sent is None else _LARGEST_NUMBER * sent.size


def _timed(replies: Replies, tasks: Tasks, seconds: float) -> Replies:
    """Return an answer with the measured seconds in place of the client's own figure, if the task asks for them."""
    clear = {name: array for name, array in replies.clear.items() if name != "seconds"}
    wanted = "needs" in tasks.shared and "seconds" in tasks.shared["needs"].tolist()
    return replace(replies, clear=clear | ({"seconds": np.array([seconds])} if wanted else {}))


def _in_words(ask: Ask) -> str:
    return f"its {ask.tasks.kind} task of round {ask.tasks.round}"
