"""A ServerApp that a test steers through files: it sends what `ask-N.json` says and writes `answer-N.json`.

Its code travels in an app bundle, so it stands alone.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.serverapp import Grid, ServerApp

from werkbund.flower.wire.parcel import Parcel
from werkbund.flower.wire.records import from_records, look_again_soon, to_records

app = ServerApp()


@app.main()  # type: ignore[untyped-decorator]
def main(grid: Grid, context: Context) -> None:
    """Send what is asked, until there is a file `end`."""
    folder = Path(str(context.run_config["folder"]))
    number = 0
    look_again_soon()
    (folder / "begun").touch()
    while not (folder / "end").exists():
        question = folder / f"ask-{number}.json"
        if not question.exists():
            time.sleep(0.02)
            continue
        answer = ask(grid, json.loads(question.read_text(encoding="utf-8")))
        beside = folder / f".answer-{number}.json"
        beside.write_text(json.dumps(answer), encoding="utf-8")
        beside.replace(folder / f"answer-{number}.json")
        number += 1


def ask(grid: Grid, question: dict[str, Any]) -> dict[str, Any]:
    """Send one message and wait for its answer."""
    parcel = Parcel(question["head"].encode(), vector=b"\0" * 4 * question["parameters"])
    message = Message(to_records(parcel), int(question["node_id"]), "query", ttl=question["ttl"])
    began = time.monotonic()
    (message_id,) = grid.push_messages([message])
    while not (replies := list(grid.pull_messages([message_id]))):
        time.sleep(0.02)
    seconds = time.monotonic() - began
    if replies[0].has_error():
        return {"error": replies[0].error.reason, "seconds": seconds}
    answer = from_records(replies[0].content)
    return {
        "head": answer.head.decode(),
        "body": answer.body.decode(),
        "parameters": len(answer.vector) // 4,
        "seconds": seconds,
    }
