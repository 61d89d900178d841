"""How long single rows take at a served model while so many are asked a second, whether or not it keeps up.

python -m benchmarks.serving runs/werkbund                       # 200 a second for 30 s
python -m benchmarks.serving runs/werkbund --rate 500 --seconds 10

Requests are sent when they are due and not when the one before was answered (an open loop), over connections that are
kept; a time runs from when a request was due, so that waiting in line counts. Client and service share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from werkbund.data import generate
from werkbund.inference import ModelPlace, Scorer

CONNECTIONS = 16


def bodies(scorer: Scorer, number: int) -> list[bytes]:
    """Return requests with different rows."""
    rows = generate(rows=number, plants=3, seed=5).select(scorer.preparation.columns).to_dicts()
    return [json.dumps(row).encode() for row in rows]


def _request(body: bytes) -> bytes:
    lines = ("POST /predict HTTP/1.1", "Host: here", "Content-Type: application/json", f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    await reader.readexactly(int(lengths[0].split(b":")[1]))


async def ask(port: int, requests: list[bytes], rate: float, seconds: float) -> list[float]:
    """Return the seconds that each request took from when it was due."""
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    began, took = time.perf_counter(), list[float]()

    async def one(number: int) -> None:
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        reader, writer = await free.get()
        writer.write(requests[number % len(requests)])
        await _answer(reader)
        free.put_nowait((reader, writer))
        took.append(time.perf_counter() - due)

    await asyncio.gather(*(one(number) for number in range(int(rate * seconds))))
    return took


def main() -> None:
    """Serve, ask and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "werkbund", "serve", str(arguments.run), "--port", str(port)]
    requests = [_request(body) for body in bodies(Scorer.load(ModelPlace.of(arguments.run)), 500)]
    with subprocess.Popen(command) as server:
        try:
            _wait(port)
            asyncio.run(ask(port, requests, 50.0, 2.0))
            took = np.array(asyncio.run(ask(port, requests, arguments.rate, arguments.seconds))) * 1000
        finally:
            server.terminate()
    told = ", ".join(f"p{share} {np.percentile(took, share):.1f}" for share in (50, 95, 99))
    print(f"{len(took)} requests at {arguments.rate:g} a second: {told}, longest {took.max():.1f} ms")


def _wait(port: int) -> None:
    end = time.monotonic() + 30.0
    while time.monotonic() < end:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the service must listen within 30 s")


if __name__ == "__main__":
    main()
