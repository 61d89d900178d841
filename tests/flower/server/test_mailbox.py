"""An answer whose content does not come holds up no other."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import pytest
from flwr.app import Error, Message, RecordDict

from tests.flower.fake_network import Network, as_server_app
from werkbund.flower.server.mailbox import Mailbox


@pytest.fixture(autouse=True)
def server_app(monkeypatch: pytest.MonkeyPatch) -> None:
    as_server_app(monkeypatch)


class _Halting(Network):
    """Hand out each answer once; a call that gets one of `halting` comes back when that is let go."""

    def __init__(self, ready: set[str], halting: dict[str, threading.Event]) -> None:
        super().__init__({}, {})
        self._ready, self._halting, self._calls = set(ready), dict(halting), threading.Lock()

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        with self._calls:
            taken = self._ready & set(message_ids)
            self._ready -= taken
        for number in taken & self._halting.keys():
            self._halting[number].wait()
        return [_answer(number) for number in sorted(taken)]


def _answer(number: str, code: int = 2) -> Message:
    question = Message(RecordDict(), dst_node_id=1, message_type="query")
    question.metadata.__dict__["_message_id"] = number
    return Message(Error(code=code, reason=number), reply_to=question)


def _numbers(messages: list[Message]) -> list[str]:
    return [message.metadata.reply_to_message_id for message in messages]


def test_what_is_there_is_fetched() -> None:
    mailbox = Mailbox(_Halting({"a", "b"}, {}))
    assert _numbers(mailbox.pull(["a"])) == ["a"]
    assert _numbers(mailbox.pull(["a", "b"])) == ["b"]
    assert mailbox.pull(["a", "b"]) == []
    assert mailbox.pull([]) == []


def test_an_answer_whose_content_is_on_its_way_holds_up_no_other() -> None:
    gate = threading.Event()
    network = _Halting({"slow"}, {"slow": gate})
    mailbox = Mailbox(network, patience_s=0.05)
    assert mailbox.pull(["slow", "quick"]) == []
    network._ready.add("quick")
    assert _numbers(mailbox.pull(["slow", "quick"])) == ["quick"]
    gate.set()
    mailbox._calls[0].thread.join(30)
    assert _numbers(mailbox.pull([])) == ["slow"]


class _Forgetting(_Halting):
    """Forget a question once its answer was handed out, as the SuperLink does."""

    def __init__(self, ready: set[str], halting: dict[str, threading.Event]) -> None:
        super().__init__(ready, halting)
        self._known = set(ready)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        with self._calls:
            gone = set(message_ids) - self._known
            self._known -= self._ready & set(message_ids)
        return [*super().pull_messages(message_ids), *(_answer(number, code=3) for number in sorted(gone))]


def test_that_there_is_no_answer_is_not_believed_while_a_call_may_bring_it() -> None:
    gate = threading.Event()
    mailbox = Mailbox(_Forgetting({"slow"}, {"slow": gate}), patience_s=0.05)
    for _ in range(3):
        assert mailbox.pull(["slow"]) == [], "the first call has it, and the others hear that there is none"
    gate.set()
    mailbox._calls[0].thread.join(30)
    (answer,) = mailbox.pull([])
    assert answer.error.code == 2
    assert mailbox.pull([]) == []


def test_that_there_is_no_answer_is_told_once_no_call_can_bring_it() -> None:
    gate = threading.Event()
    mailbox = Mailbox(_Forgetting({"slow"}, {"slow": gate}), patience_s=0.05)
    assert mailbox.pull(["slow", "never"]) == []
    assert mailbox.pull(["never"]) == []
    gate.set()
    mailbox._calls[0].thread.join(30)
    codes = {message.metadata.reply_to_message_id: message.error.code for message in mailbox.pull([])}
    assert codes == {"slow": 2, "never": 3}
    assert [message.error.code for message in mailbox.pull(["never"])] == [3]


def test_calls_that_do_not_come_back_are_not_made_without_end() -> None:
    never = threading.Event()
    network = _Halting({str(number) for number in range(40)}, {str(number): never for number in range(40)})
    mailbox = Mailbox(network, patience_s=0.001)
    for number in range(40):
        assert mailbox.pull([str(number)]) == []
    assert len(mailbox._calls) == 16
    never.set()


def test_an_error_of_flowers_is_raised_where_it_is_waited_for() -> None:
    class StoppedError(BaseException):
        pass

    class Stopped(Network):
        def pull_messages(self, message_ids: Any) -> Any:
            raise StoppedError

    with pytest.raises(StoppedError):
        Mailbox(Stopped({}, {})).pull(["a"])
