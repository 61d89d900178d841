"""An HTTP proxy on loopback that gives tunnels to whoever has its key: `python http_proxy.py USER:PASSWORD`.

It prints its port, then a line for each request. Without an argument it asks for no key; with the second argument
`refuse` it gives no tunnel to anybody.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen

_KEY, _REFUSES = [*sys.argv[1:], ""][0].encode(), sys.argv[2:] == ["refuse"]


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
        return
    method, target = head.split(b" ")[:2]
    allowed = not _KEY or b"Basic " + base64.b64encode(_KEY) in head
    status = b"405 Method Not Allowed" if method != b"CONNECT" else b"403 Forbidden" if _REFUSES else b"200 OK"
    status = status if allowed else b"407 Proxy Authentication Required"
    print(method.decode(), target.decode(), status.decode()[:3], flush=True)
    writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n")
    if status[:3] != b"200":
        writer.close()
        return
    host, _, port = target.decode().rpartition(":")
    far_reader, far_writer = await asyncio.open_connection(host.strip("[]"), int(port))
    await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@dataclass
class HttpProxy:
    """Hold the port of a proxy that runs, and where its lines are."""

    port: int
    log: Path

    def lines(self) -> list[str]:
        """Return a line for each request."""
        return self.log.read_text().splitlines()[1:]


@contextmanager
def http_proxy(folder: Path, *arguments: str) -> Iterator[HttpProxy]:
    """Run a proxy as a process of its own until the end of the `with` statement."""
    log = folder / "proxy.log"
    with log.open("w") as out, Popen([sys.executable, __file__, *arguments], stdout=out, stdin=PIPE) as process:
        try:
            while not (text := log.read_text()).endswith("\n"):
                assert process.poll() is None
            yield HttpProxy(int(text.split()[0]), log)
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(_main())
