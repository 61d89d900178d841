"""A worker that answers parcels as their head says: at once, late, never, or by dying."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

from werkbund.flower.machine.processes import follow_parent
from werkbund.flower.wire.parcel import Parcel, read_parcel, write_parcel


def answer(parcel: Parcel) -> Parcel:
    """Do what the head says."""
    if parcel.head == b"die":
        os._exit(3)
    if parcel.head == b"hang":
        print("hangs", file=sys.stderr, flush=True)
        time.sleep(600)
    if parcel.head == b"pid":
        return replace(parcel, body=str(os.getpid()).encode())
    return replace(parcel, head=b"answer to " + parcel.head)


if __name__ == "__main__":
    follow_parent()
    while (asked := read_parcel(sys.stdin.buffer)) is not None:
        write_parcel(sys.stdout.buffer, answer(asked))
