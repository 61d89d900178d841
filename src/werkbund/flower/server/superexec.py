"""Start Flower's SuperExec, which runs the server's part of a run: `python -m werkbund.flower.server.superexec ...`."""

from __future__ import annotations

from flwr.supercore.cli import flower_superexec

from werkbund.flower.machine.processes import follow_parent


def main() -> None:
    """Run the SuperExec."""
    follow_parent()
    flower_superexec()


if __name__ == "__main__":
    main()
