"""A plant's client as `werkbund client start` runs it, but for its worker: `python bad_client.py KIT [WAY ...]`."""

from __future__ import annotations

import sys
from pathlib import Path

from werkbund.cli.signals import run_until_stopped
from werkbund.flower.plant.host import ClientHost

if __name__ == "__main__":
    worker = [sys.executable, str(Path(__file__).with_name("bad_worker.py")), *sys.argv[1:]]
    run_until_stopped(ClientHost(Path(sys.argv[1]), lambda line: print(line, flush=True), worker=worker))
