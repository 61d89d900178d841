"""What clients do where a server learns sums alone: they mask what is meant to be added, and help to open sums."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from werkbund.core.arrays import AnyArray, Arrays, under
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Field, Kind
from werkbund.core.store import Store
from werkbund.core.types import Replies, Tasks
from werkbund.engine.summands import addends_of, is_summed
from werkbund.engine.worker import Handler
from werkbund.privacy.shares import NoiseShare
from werkbund.privacy.sums import AGREE, KEYS, OFFERS, OPEN, Participant, Words

SUM = "sum."
"""Before the names of what a task holds for a secure sum, and of what its answer does."""

WORDS, MASKED = f"{SUM}words", f"{SUM}masked"
"""How numbers become words, as text, in a task; and the masked words in an answer, (clients, bytes)."""

FACTORS, _TOLD = f"{SUM}factors", f"{SUM}told"
"""What each of those that are asked multiplies its update by, (cohort,), told to all of them; and a client's own digest
of what all are told, in a task that it has changed since it came."""

MOST_TIMES = 100.0
"""One client's update counts at most so many times as much as another's in a sum: else the sum would be its own."""

_TRAVELS = (Field("shared", f"{SUM}*", "who is asked together, their keys, and how numbers become words"),)
_LEAVES = (Field("clear", MASKED, "what is to be added, under masks", ("bytes",), "u1"),)

Stage = Callable[[Participant, Arrays], Arrays]
"""Given what a stage sends one client, return what this answers."""


def masked_kind(kind: Kind) -> Kind:
    """Return a kind as its tasks and answers travel where they are summed: what is to be added is masked words."""
    clear = tuple(one for one in kind.answer if one.half == "clear")
    return replace(kind, request=(*kind.request, *_TRAVELS), answer=(*clear, *_LEAVES), repeatable=False)


@dataclass
class Masking:
    """Mask what clients answer, whatever it is that they are asked.

    Parameters
    ----------
    participants
        By the number that tasks have for a client here.
    about
        What answers follow from beside the tasks, such as which rows there are.
    kept
        What is kept from task to task of rounds of several stages, by name.
    share
        The noise of which each adds a share to its update; None where nothing is added.
    """

    participants: Mapping[int, Participant]
    about: bytes = b""
    kept: MutableMapping[str, AnyArray] = field(default_factory=dict)
    share: NoiseShare | None = None
    _sent: dict[int, tuple[int, AnyArray]] = field(default_factory=dict)  # by those asked with one who then failed

    def around(self, handlers: Mapping[Kind, Handler]) -> dict[Kind, Handler]:
        """Return the functions for all kinds that clients know, those of secure sums among them."""
        masked = {kind: self._masked(kind, own) if is_summed(kind) else own for kind, own in handlers.items()}
        stages: dict[Kind, Stage] = {KEYS: lambda who, sent: who.keys(), OFFERS: Participant.offers}
        stages |= {AGREE: Participant.agree, OPEN: Participant.open}
        return {**masked, **{kind: self._staged(kind, stage) for kind, stage in stages.items()}}

    def _masked(self, kind: Kind, handler: Handler) -> Handler:
        def handle(tasks: Tasks, store: Store) -> Replies:
            tasks, message = replace(tasks, kind=kind), under(SUM, tasks.shared)  # as it is without a sum
            if not message:
                raise ClientError(f"adds what it answers to {tasks.kind} under masks alone (privacy.secure_sums)")
            answers = _each(handler, _plain(tasks), store)
            clear = joined([answer.clear for answer in answers])
            if all(answer.sums for answer in answers):  # else somebody must be told more first
                alone = (tasks.take(slice(i, i + 1)) for i in range(len(tasks)))
                rows = self._all_submitted(
                    [(own, answer.sums) for own, answer in zip(alone, answers, strict=True)], message
                )
                clear[MASKED] = np.stack(rows)
            return Replies(tasks.kind, tasks.round, tasks.clients, {}, clear, answers[0].fingerprint)

        return handle

    def _all_submitted(self, clients: Sequence[tuple[Tasks, Arrays]], message: Arrays) -> list[AnyArray]:
        """Return the masked words of some clients, or of none: what is masked is kept for when each is asked alone."""
        rows: list[AnyArray] = []
        try:
            rows += (self._submitted(own, message, sums) for own, sums in clients)
        except ClientError:
            done = zip(clients, rows, strict=False)
            self._sent = {int(own.clients[0]): (int(message["turn"]), words) for (own, _), words in done}
            raise
        return rows

    def _submitted(self, tasks: Tasks, message: Arrays, sums: Arrays) -> AnyArray:
        """Return the masked words of one client."""
        client = int(tasks.clients[0])
        stage = self._stage(client)
        if tasks.kind.staged and stage.round == tasks.round and message["cohort"].tolist() != list(stage.included):
            raise ClientError(
                f"round {tasks.round} was begun in sums over other clients: the difference would be one client's own"
            )
        turn = int(message["turn"])
        kept = self._sent.pop(client, None)
        if kept is None or kept[0] != turn:
            words = Words.from_json(str(message["words"]))
            self._check_told(client, tasks, message, words)
            arrays = addends_of(words, tasks.kind, {name: array[0] for name, array in sums.items()})
            for name, part in self.share.parts.items() if self.share else ():
                if name in arrays:
                    honest = self.participants[client].honest(message)
                    arrays[name] = arrays[name] + part.drawn(arrays[name].shape, honest)
            masked = self.participants[client].submit(message, words, arrays, question_of(tasks, self.about))["masked"]
            self._keep(client, replace(stage, turn=turn, under_way=tasks.round * tasks.kind.staged))
            return masked
        return kept[1]

    def _check_told(self, client: int, tasks: Tasks, message: Arrays, words: Words) -> None:
        """Refuse words that are not bound to what this client was told, or a sum in which one counts too much.

        Raises
        ------
        ClientError
            If so.
        """
        told = message["told"].tobytes() if "told" in message else told_alike(tasks)
        if words.about != told.hex():
            raise ClientError("the server says of this question that others were asked something else; nothing leaves")
        if "factor" not in tasks.own:
            return
        factors, cohort = np.asarray(message.get("factors", ())), message["cohort"].tolist()
        mine = cohort.index(self.participants[client].number)
        if len(factors) != len(cohort) or factors[mine] != tasks.own["factor"][0]:
            raise ClientError("the server tells others another factor of this client than the client itself")
        counting = factors[factors > 0]
        if (factors < 0).any() or (len(counting) and counting.max() > MOST_TIMES * counting.min()):
            raise ClientError(
                f"one update may count at most {MOST_TIMES:g} times as much as another in a secure sum, got factors "
                f"from {factors.min():g} to {factors.max():g}: the sum would be little but that one"
            )

    def _staged(self, kind: Kind, stage: Stage) -> Handler:
        def handle(tasks: Tasks, store: Store) -> Replies:
            if len(tasks) != 1:
                raise ClientError(f"{kind} is each client's own")
            client = int(tasks.clients[0])
            sent = {**tasks.shared, **{name: array[0] for name, array in tasks.own.items()}}
            if kind in (AGREE, OPEN):
                self._check_whole(client, sent)
            answer = stage(self.participants[client], sent)
            return Replies(kind, tasks.round, tasks.clients, {}, {name: array[None] for name, array in answer.items()})

        return handle

    def _check_whole(self, client: int, sent: Arrays) -> None:
        """Refuse to open a later stage of a round without somebody who was in an earlier one; else note who is in it.

        Raises
        ------
        ClientError
            If so.
        """
        stage, included = self._stage(client), tuple(sent["included"].tolist())
        if not stage.under_way or stage.turn != int(sent["turn"]):
            return
        if stage.under_way == stage.round and included != stage.included:
            raise ClientError(
                f"round {stage.round} was begun in sums with others: what is left without them would be their own"
            )
        self._keep(client, replace(stage, round=stage.under_way, included=included))

    @staticmethod
    def nothing_kept(client: int) -> dict[str, AnyArray]:
        """Return what is kept of a client before its first round of several stages."""
        return {f"stage.{client}": np.zeros(3, np.int64)}

    def _stage(self, client: int) -> _Stage:
        kept = {**self.nothing_kept(client), **self.kept}[f"stage.{client}"]
        round, turn, under_way, *included = kept.tolist()
        return _Stage(round, tuple(included), turn, under_way)

    def _keep(self, client: int, stage: _Stage) -> None:
        numbers = [stage.round, stage.turn, stage.under_way, *stage.included]
        self.kept[f"stage.{client}"] = np.array(numbers, np.int64)


@dataclass(frozen=True)
class _Stage:
    """Hold over whom the stages of a round are summed, and which sum of which such round is under way."""

    round: int = 0
    included: tuple[int, ...] = ()
    turn: int = 0
    under_way: int = 0


def as_told(tasks: Tasks) -> Tasks:
    """Return tasks as they came with a digest of what all are told, before a client changes them for itself."""
    digest = np.frombuffer(told_alike(tasks), np.uint8)
    return replace(tasks, shared={**tasks.shared, _TOLD: digest}) if WORDS in tasks.shared else tasks


def told_alike(tasks: Tasks) -> bytes:
    """Return 32 bytes that follow from all that is told to all whose answers are added."""
    factors = {FACTORS: tasks.shared[FACTORS]} if FACTORS in tasks.shared else {}
    return _digest(tasks.kind.name, {**_beside_sums(tasks.shared), **factors})


def _digest(head: str, *halves: Arrays) -> bytes:
    """Return 32 bytes that follow from named arrays: kind of numbers, shape and content."""
    text = hashlib.sha256(head.encode())
    for half in halves:
        for name, array in sorted(half.items()):
            is_text = array.dtype.kind not in "biuf"
            content = repr(array.tolist()).encode() if is_text else np.ascontiguousarray(array).tobytes()
            kind = array.dtype.kind if is_text else array.dtype.str
            text.update(f"{name} {kind} {array.shape} {len(content)} ".encode() + content)
    return text.digest()


def without_sums(tasks: Tasks) -> Tasks:
    """Return tasks as they are without a secure sum."""
    return replace(tasks, shared=_beside_sums(tasks.shared))


def _beside_sums(arrays: Arrays) -> dict[str, AnyArray]:
    """Return what a task holds beside what is for a secure sum."""
    return {name: array for name, array in arrays.items() if not name.startswith(SUM)}


def _plain(tasks: Tasks) -> Tasks:
    """Return tasks without a secure sum in which counts are wanted of each client, as each adds its own."""
    plain = without_sums(tasks)
    each = {"each": np.ones((), np.bool_)} if tasks.kind.asked("shared", "each") else {}
    return replace(plain, shared={**plain.shared, **each})


def _each(handler: Handler, tasks: Tasks, store: Store) -> list[Replies]:
    """Return the answer of each client by itself; all are worked out before anything is masked."""
    if "each" in tasks.shared or len(tasks) == 1:
        together = handler(tasks, store)
        return [together.take(slice(i, i + 1)) for i in range(len(tasks))]
    return [handler(tasks.take(slice(i, i + 1)), store) for i in range(len(tasks))]


def joined(rows: Sequence[Arrays]) -> dict[str, AnyArray]:
    """Return what each of some clients says in clear, (clients, ...) by name; NaN, 0 or no text where one does not."""
    kinds = {name: array for row in rows for name, array in row.items()}
    nothing = {name: np.full_like(one, np.nan if one.dtype.kind == "f" else 0) for name, one in kinds.items()}
    nothing |= {name: np.zeros_like(one) for name, one in kinds.items() if one.dtype.kind not in "iuf"}
    return {name: np.concatenate([row.get(name, nothing[name]) for row in rows]) for name in kinds}


def question_of(tasks: Tasks, about: bytes = b"") -> bytes:
    """Return 32 bytes that follow from all that the answer of one client depends on, and not from when it is asked."""
    return _digest(f"{tasks.kind.name} {about.hex()}", _beside_sums(tasks.shared), _beside_sums(tasks.own))
