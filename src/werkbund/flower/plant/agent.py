"""What answers messages at a plant: it takes tasks from the SuperNode and hands their parcels to the plant's worker.

It stands where Flower would start a process for each message and run the code of the app bundle. Here no code from a
bundle is ever run: the bundle's hash is compared with those that the plant approves, and the installed version works.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256

import httpx
from flwr.app import Context, Error, Message
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import context_from_proto
from flwr.proto.message_pb2 import Metadata, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.auth import create_superexec_auth_metadata, derive_auth_secret
from flwr.supercore.constant import TASK_TOKEN_HEADER, TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.runtime.run_clientapp import push_message, push_task_output

from werkbund.core.errors import ClientError, FederationError
from werkbund.flower.machine.way import take_way
from werkbund.flower.wire.parcel import Parcel
from werkbund.flower.wire.records import PAUSES, from_records, to_records

ASK_S, ASK_IDLE_S = 0.1, 0.5
"""Seconds between two questions for a task: while there is work, and when there was none for `IDLE_S`."""

IDLE_S = 60.0
UNREACHABLE_S = 1.0
ANNOUNCED_S = 10.0
_ACQUIRE = "/flwr.proto.Runtime/AcquireTask"

Work = Callable[[Parcel, float], Parcel]
"""Answers a parcel within so many seconds."""


class Agent:
    """Answer messages, one after the other.

    Parameters
    ----------
    address
        Of the SuperNode's Runtime API, `host:port` on this machine.
    secret
        Shared with the SuperNode.
    work
        Answers a parcel.
    approve
        Given the SHA-256 of an app bundle, returns why it is refused, or None.
    log
        Takes lines for people.
    on_stuck
        Called when a message can be neither answered nor refused: the SuperNode then waits for ever, and must be
        started anew.
    clock
        Tells the seconds since 1970 by the server's clock, which says until when a message is worth answering.
    """

    def __init__(
        self,
        address: str,
        secret: bytes,
        work: Work,
        approve: Callable[[str], str | None],
        log: Callable[[str], None],
        on_stuck: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.address, self.is_busy = address, False
        self._secret, self._work, self._approve, self._log, self._on_stuck = secret, work, approve, log, on_stuck
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Answer messages until `stop` is set; no error ends this."""
        last_task = time.monotonic()
        while not stop.is_set():
            headers = _Headers(self._secret)
            with _client(self.address, headers) as client:
                address = self.address
                while address == self.address and not stop.is_set():
                    pause_s = self._turn(client, headers)
                    if pause_s == 0:
                        last_task = time.monotonic()
                        continue
                    idle = time.monotonic() - last_task > IDLE_S
                    stop.wait(max(pause_s, ASK_IDLE_S if idle else ASK_S))

    def _turn(self, client: RuntimeHttpClient, headers: _Headers) -> float:
        """Do one task if there is one; return the pause before the next question, in seconds."""
        try:
            request = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
            response = client.AcquireTask(request)
        except (httpx.HTTPError, ValueError) as error:
            if not isinstance(error, httpx.TransportError):
                self._log(f"the SuperNode gives no tasks: {error}")
            return UNREACHABLE_S
        if not response.HasField("task"):
            return ASK_S
        headers.token, self.is_busy = response.token, True
        try:
            self._do(client)
        except Exception as error:  # whatever it is, the next message must find the agent at work
            self._log(f"a message could not be answered: {_text(error)}")
            if not _is_over(client):
                self._on_stuck()
        finally:
            self.is_busy = False
        return 0.0

    def _do(self, client: RuntimeHttpClient) -> None:
        with _heartbeat(client):
            message, context, bundle = _pull(client, self._clock)
            reply = self._reply(message, bundle)
            push_message(client, reply, context)
        push_task_output(client, None, SubStatus.COMPLETED, "")

    def _reply(self, message: Message, bundle: str) -> Message:
        try:
            refusal = self._approve(bundle)
            if refusal is not None:
                self._log(refusal)
                return _error(message, ErrorCode.INVALID_FAB, refusal)
            seconds = time_left(message, self._clock())
            if seconds <= 0:
                return _error(message, ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "its time was over before it was begun")
            answer = self._work(from_records(message.content), seconds)
            return Message(to_records(answer), reply_to=message)
        except Exception as error:  # the server must be told, whatever it is
            self._log(f"a task failed: {_text(error)}")
            return _error(message, ErrorCode.CLIENT_APP_RAISED_EXCEPTION, _text(error))


def time_left(message: Message, now: float) -> float:
    """Return the seconds within which an answer to a message must be there; `now` is the server's time.

    A little less than the message's life, so that an answer that says why there is none still arrives.
    """
    left = message.metadata.created_at + message.metadata.ttl - now
    return float(left - min(2.0, 0.2 * message.metadata.ttl))


class _Headers:
    """Sign the question for a task with the secret, everything else with the task's token."""

    def __init__(self, secret: bytes) -> None:
        self._secret = derive_auth_secret(secret)
        self._version = dict(RuntimeVersionMetadata.from_local_component("flwr-clientapp").as_metadata())
        self.token = ""

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        """Add the headers to a request."""
        own = {TASK_TOKEN_HEADER: self.token}
        if context.rpc_method == _ACQUIRE:
            own = create_superexec_auth_metadata(auth_secret=self._secret, method=_ACQUIRE, request=context.message)
        context.request.headers.update({**self._version, **own})
        response: httpx.Response = call_next(context)
        return response


def _client(address: str, headers: _Headers) -> RuntimeHttpClient:
    # Without Flower's own retries: these end the process on some answers.
    client = RuntimeHttpClient.from_server_address(address, True, None, [headers])
    take_way(client)  # the SuperNode is on this machine, where no proxy leads
    return client


def _pull(client: RuntimeHttpClient, clock: Callable[[], float]) -> tuple[Message, Context, str]:
    """Return a task's message, Flower's context and the hash of the app bundle."""
    given = client.PullTaskInput(PullTaskInputRequest())
    TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
    TaskIdentity.node_id = given.context.node_id
    metadata, tree = _announced(client)
    node, run_id = Node(node_id=given.context.node_id), given.run.run_id
    message = pull_and_inflate_object_from_tree(
        tree,
        make_pull_object_fn_protobuf(client.PullObject, node, run_id),
        make_confirm_message_received_fn_protobuf(client.ConfirmMessageReceived, node, run_id),
        return_type=Message,
        max_time=max(metadata.created_at + metadata.ttl - clock(), 0.0),
        **PAUSES,
    )
    message.metadata.__dict__["_message_id"] = tree.object_id
    return message, context_from_proto(given.context), sha256(given.fab.content).hexdigest()


def _announced(client: RuntimeHttpClient) -> tuple[Metadata, ObjectTree]:
    """Return whose message it is and of what it consists. The SuperNode offers a task a moment before it is there."""
    until = time.monotonic() + ANNOUNCED_S
    while True:
        given = client.PullMessages(PullAppMessagesRequest())
        if given.messages_list:
            return given.messages_list[0].metadata, given.message_object_trees[0]
        if time.monotonic() > until:
            raise ClientError(f"the SuperNode offered a task, but no message came within {ANNOUNCED_S:.0f} s")
        time.sleep(0.02)


def _is_over(client: RuntimeHttpClient) -> bool:
    """Return whether the SuperNode has finished with the task by itself; else it waits for an answer for ever."""
    try:
        return not client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success
    except httpx.HTTPStatusError as error:
        return _is_refused(error)
    except (httpx.HTTPError, ValueError):
        return True  # it has ended, and its next start knows nothing of the message


@contextmanager
def _heartbeat(client: RuntimeHttpClient) -> Iterator[None]:
    """Tell the SuperNode that the task is still worked on."""

    def beat() -> bool:
        try:
            client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
        except (httpx.HTTPError, ValueError) as error:
            return _is_refused(error)  # then the task is over, and asking again would not help
        return True

    sender = HeartbeatSender(beat)
    sender.start()
    try:
        yield
    finally:
        sender.stop()


def _error(message: Message, code: int, reason: str) -> Message:
    return Message(Error(code=code, reason=reason), reply_to=message)


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"this plant's machine refused it ({os.strerror(error.errno)})"  # without the names of its files
    return str(error) if isinstance(error, FederationError) else f"{type(error).__name__}: {error}"


def _is_refused(error: Exception) -> bool:
    """Return whether the SuperNode no longer knows the task: it has then answered the message by itself."""
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403)
