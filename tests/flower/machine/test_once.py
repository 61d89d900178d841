"""A kit runs once: the second server or client is refused, and a process that was killed leaves nothing locked."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from werkbund.core.errors import ConfigError
from werkbund.flower.plant.host import ClientHost
from werkbund.flower.server.host import ServerHost

HOLD = """
import sys, time
from pathlib import Path
from werkbund.flower.machine.pidfile import claimed
with claimed(Path(sys.argv[1]), "it"):
    Path(sys.argv[1]).unlink() if sys.argv[2] == "without" else None
    print("holds", flush=True)
    time.sleep(600)
"""

Run = Callable[[Path, list[str], threading.Event], None]


def _client(kit: Path, said: list[str], stop: threading.Event) -> None:
    (kit / "client.toml").write_text(
        '[client]\nname = "plant-a"\n[server]\naddress = "127.0.0.1:9"\ninsecure = true\n[data]\npath = "rows.csv"\n'
    )
    ClientHost(kit, said.append, worker=[sys.executable, "-c", "input()"]).run(stop)


def _server(kit: Path, said: list[str], stop: threading.Event) -> None:
    (kit / "server.toml").write_text("[server]\ninsecure = true\nport = 18123\n")
    (kit / "executor.secret").touch(0o600)
    ServerHost(kit, said.append).run(stop)


@contextmanager
def holding(record: Path, how: str) -> Iterator[int]:
    record.parent.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", HOLD, record, how], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        yield holder.pid
        holder.kill()


@pytest.mark.parametrize("how", ["with", "without"])
@pytest.mark.parametrize(("run", "name"), [(_client, "client"), (_server, "server")])
def test_a_kit_that_runs_is_not_run_again(run: Run, name: str, how: str, tmp_path: Path) -> None:
    over = threading.Event()
    over.set()
    with holding(tmp_path / "state" / f"{name}.json", how) as pid:
        with pytest.raises(ConfigError, match=f"the {name} of .* must run once, but process {pid} runs it already"):
            run(tmp_path, [], over)
        assert how == "without" or (tmp_path / "state" / f"{name}.json").exists(), "the other's record is left alone"
    run(tmp_path, [], over)
    assert not (tmp_path / "state" / f"{name}.json").exists()
    assert not [path for path in (tmp_path / "state").iterdir() if path.name.endswith(".lock")]
