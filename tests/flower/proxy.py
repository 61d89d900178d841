"""A TCP proxy on loopback that a test puts between a client and a server: it records, cuts, freezes.

It runs in a thread of its own, forwards bytes as they come, and knows nothing of what they mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

_CHUNK = 2**16
_TIMEOUT_S = 10.0
_NO_LINGER = struct.pack("ii", 1, 0)  # closing sends a reset, as a machine does that lost its state


@dataclass
class Recording:
    """Hold all bytes of one connection, in the order in which they arrived at the proxy.

    A byte is recorded when it arrives, whether or not it is forwarded later.
    """

    _sent: bytearray = field(default_factory=bytearray)
    _received: bytearray = field(default_factory=bytearray)

    @property
    def sent(self) -> bytes:
        """From the client to the server."""
        return bytes(self._sent)

    @property
    def received(self) -> bytes:
        """From the server to the client."""
        return bytes(self._received)


class RecordingProxy:
    """Stand between a client and a server; a context manager.

    Parameters
    ----------
    target_host, target_port
        Where the server listens. It need not be there yet: a connection that finds none is closed.

    Examples
    --------
    >>> with RecordingProxy("127.0.0.1", 9) as proxy:
    ...     proxy.connections
    []
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="recording proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._recordings: list[Recording] = []
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def __enter__(self) -> RecordingProxy:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._call(self._cut())
        self._call(_cancel_the_rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_TIMEOUT_S)
        self._loop.close()

    @property
    def address(self) -> str:
        """Host and port for a client."""
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> list[Recording]:
        """All connections so far, also those that ended, in the order in which they came."""
        return list(self._recordings)

    @property
    def sent(self) -> bytes:
        """All bytes that left clients, one connection after the other."""
        return b"".join(recording.sent for recording in self.connections)

    @property
    def received(self) -> bytes:
        """All bytes that came back, one connection after the other."""
        return b"".join(recording.received for recording in self.connections)

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        self._call(self._cut())

    def restore(self) -> None:
        """Accept connections again, on the same port."""
        self._call(self._listen())

    def freeze(self) -> None:
        """Accept connections and bytes, but forward nothing."""
        self._call(self._freeze())

    def thaw(self) -> None:
        """Forward what was held back, and all that comes."""
        self._call(self._thaw())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_TIMEOUT_S)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = int(self._server.sockets[0].getsockname()[1])

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for pump in self._pumps:
            pump.cancel()
        for writer in list(self._writers):
            _reset(writer)
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _freeze(self) -> None:
        self._flowing.clear()

    async def _thaw(self) -> None:
        self._flowing.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pump = self._loop.create_task(self._connection(reader, writer))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recording, ends = Recording(), [writer]
        self._recordings.append(recording)
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            ends.append(far_writer)
            self._writers.add(far_writer)
            there = self._direction(reader, far_writer, recording._sent)
            back = self._direction(far_reader, writer, recording._received)
            await asyncio.gather(there, back)
        except OSError:  # one end is gone without a word; so is the other
            for end in ends:
                _reset(end)
        finally:
            for end in ends:
                end.close()
            self._writers.difference_update(ends)

    async def _direction(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray) -> None:
        """Forward one direction until its end; the other may go on."""
        chunks: asyncio.Queue[bytes] = asyncio.Queue()
        await asyncio.gather(_read(reader, record, chunks), self._write(writer, chunks))

    async def _write(self, writer: asyncio.StreamWriter, chunks: asyncio.Queue[bytes]) -> None:
        while chunk := await chunks.get():
            await self._flowing.wait()
            writer.write(chunk)
            await writer.drain()
        await self._flowing.wait()
        with contextlib.suppress(OSError):
            writer.write_eof()


async def _cancel_the_rest() -> None:
    """Cancel what still waits, such as the writer of a connection whose reader met an error."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, record: bytearray, chunks: asyncio.Queue[bytes]) -> None:
    """Record what comes and hand it on; an empty chunk is the end."""
    chunk = b"more"
    while chunk:
        chunk = await reader.read(_CHUNK)
        record += chunk
        chunks.put_nowait(chunk)


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
