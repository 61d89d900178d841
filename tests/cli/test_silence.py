"""Nothing of ours speaks to third parties: whole commands are run with each of their connections recorded.

Where the machine allows it they run in a network of their own, in which no address but loopback can be reached.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from werkbund._silence import SILENCE

_CALLS = "trace=connect,bind,sendto,sendmsg,sendmmsg,execve"
_ADDRESS = re.compile(r'(\w+)\(.*?sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
_OPEN_NETWORK = ("PATH", "LANG", "VIRTUAL_ENV", "PYTHONPATH", "OMP_NUM_THREADS")
"""Variables that the commands get; without `CI`, say, which silences libraries by itself."""

_SMALL = [
    *("--set", "federation.rounds=1", "--set", "data.source=generator", "--set", "data.rows=1500"),
    *("--set", "model.hidden=[8]", "--set", "training.batched=false"),
]


def _alone() -> list[str]:
    """Return what runs a command in a network of its own; nothing where this machine does not allow it."""
    command = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    missing = [name for name in ("unshare", "ip") if shutil.which(name) is None]
    return [] if missing or subprocess.run([*command, "true"], capture_output=True).returncode else command


@dataclass(frozen=True)
class Recorded:
    """Hold what processes did, as `strace` saw it, and what lies in the home that they had."""

    trace: str
    home: Path

    def reached(self) -> set[tuple[str, int]]:
        """Return the addresses and ports that were spoken to, but for ports of this machine that they opened."""
        calls = [(call, int(port), host) for call, port, host in _ADDRESS.findall(self.trace)]
        own = {port for call, port, _ in calls if call == "bind" and port}
        spoken = {(host, port) for call, port, host in calls if call != "bind"}
        return {(host, port) for host, port in spoken if port not in own or not ipaddress.ip_address(host).is_loopback}

    def files(self) -> list[str]:
        """Return what was written into the home."""
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file())

    def ran(self, *words: str) -> bool:
        """Return whether a program was started with these words among its arguments."""
        lines = [line for line in self.trace.splitlines() if "execve(" in line]
        return any(all(word in line for word in words) for line in lines)


def record(folder: Path, *commands: list[str]) -> Recorded:
    """Run Python with each of these arguments, all connections recorded and all addresses but loopback refused."""
    if shutil.which("strace") is None:
        assert "CI" not in os.environ, "strace is missing"
        pytest.skip("strace is missing")
    home, trace = folder / "home", folder / "trace"
    home.mkdir()
    variables = {name: os.environ[name] for name in _OPEN_NETWORK if name in os.environ}
    variables |= {"HOME": str(home), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}
    tracing = ["strace", "-f", "--seccomp-bpf", "-e", _CALLS, "-e", "signal=none", "-s", "200", "-A", "-o", str(trace)]
    for command in commands:
        whole = [*_alone(), *tracing, sys.executable, *command]
        done = subprocess.run(whole, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return Recorded(trace.read_text(encoding="utf-8", errors="replace"), home)


def _werkbund(*arguments: str) -> list[str]:
    return ["-m", "werkbund", *arguments]


@pytest.mark.slow
def test_commands_reach_the_federation_alone_and_write_nothing_at_home(tmp_path: Path) -> None:
    seen = record(
        tmp_path,
        _werkbund("up", "--clients", "2", *_SMALL, "--out", "up"),
        _werkbund("client", "check", "up.plants/kits/plant-1"),
        _werkbund("provision", "up.plants/federation.toml", "--client", "a", "--host", "127.0.0.1", "--out", "kits"),
        _werkbund("run", *_SMALL, "--out", "run"),
        _werkbund("predict", "run", "up.plants/data/plant-1.csv", "--out", "scores.csv"),
        _werkbund("report", "run"),
    )
    assert seen.reached() == set()
    assert seen.files() == []
    for words in (("server", "start"), ("client", "start"), ("superlink",), ("supernode",), ("launcher", "serverapp")):
        assert seen.ran(*words), words


LOUD = {
    "an address": "import socket; socket.socket().connect_ex(('203.0.113.7', 443))",
    "a name": "import socket\ntry: socket.getaddrinfo('telemetry.example', 443)\nexcept OSError: pass",
    "a datagram": "import socket\ntry: socket.socket(2, 2).sendto(b'x', ('203.0.113.7', 53))\nexcept OSError: pass",
    "a port that nobody here opened": "import socket; socket.socket().connect_ex(('127.0.0.1', 9))",
}


@pytest.mark.parametrize("code", LOUD.values(), ids=LOUD)
def test_the_recording_sees(code: str, tmp_path: Path) -> None:
    assert record(tmp_path, ["-c", code]).reached() != set()


def test_the_recording_sees_what_onnx_runtime_writes_where_nothing_silences_it(tmp_path: Path) -> None:
    assert record(tmp_path, ["-c", "import onnxruntime"]).files() != []


@pytest.mark.parametrize("first", ["werkbund", "werkbund.model", "werkbund.cli", "werkbund.flower.server.launcher"])
def test_onnx_runtime_is_silent_whatever_of_ours_is_imported_first(first: str, tmp_path: Path) -> None:
    seen = record(tmp_path, ["-c", f"import {first}, onnxruntime, flwr.supercore.telemetry"])
    assert (seen.files(), seen.reached()) == ([], set())


def test_whoever_asked_for_telemetry_is_not_heard_by_ours() -> None:
    variables = {**os.environ, **dict.fromkeys(SILENCE, "")}
    code = f"import werkbund, os; assert {SILENCE!r}.items() <= os.environ.items()"
    assert subprocess.run([sys.executable, "-c", code], env=variables).returncode == 0
