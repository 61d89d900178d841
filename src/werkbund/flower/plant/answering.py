"""A plant's end of a message: a parcel comes in, the plant does what it asks, a parcel goes out.

`python -m werkbund.flower.plant.answering KIT` is the plant's worker. It stays, so that a task need not wait for the
rows to be read or the network's code to be imported; it reads parcels from stdin and writes their answers to stdout.
What anything else prints goes to stderr. Nothing here imports Flower.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from werkbund._version import __version__
from werkbund.core.errors import CheckpointError, ClientError, ConfigError, ModelError
from werkbund.flower.machine.processes import follow_parent
from werkbund.flower.wire.codec import WHO, Answer, Ask, decode_ask, encode_answer, encode_refusal, task_id
from werkbund.flower.wire.parcel import Parcel, read_parcel, write_parcel
from werkbund.plant import Asked, Plant, PlantFolder, RefusedError, load_settings
from werkbund.plant.briefing import Briefing
from werkbund.plant.ledger import protection_of, weights_digest

_log = logging.getLogger(__name__)


class Desk:
    """Take questions for a plant, and see that each is answered once.

    Parameters
    ----------
    plant
        Who does the work.
    """

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._kinds = {**plant.kinds, WHO.name: WHO}
        self._briefings: dict[str, Briefing] = {}

    def answer(self, parcel: Parcel) -> Parcel:
        """Return the answer to a task, or why there is none: whatever goes wrong ends in a refusal.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            If the process is to end; nothing else is raised.
        """
        try:
            ask = decode_ask(parcel, self._kinds)
        except BaseException as error:
            reason = self._reason(error, "read")
            written = self._plant.ledger.refused(Asked("unknown"), "protocol", reason)
            return encode_refusal(Answer(None, "protocol", reason, self._plant.name, written))
        try:
            return self._given(ask)
        except BaseException as error:
            answer = Answer(None, "failed", self._reason(error, ask.tasks.kind.name), self._plant.name)
            return self._refused(ask, answer)

    def _given(self, ask: Ask) -> Parcel:
        """Return the answer to a task, once what was answered is written down: else its limits could not be kept."""
        if ask.tasks.kind == WHO:
            return encode_answer(ask, Answer(None, "name", "", self._plant.name))
        recorded = self._plant.recall(task_id(ask))
        if recorded is not None:
            reply = Parcel.from_bytes(recorded)
            self._plant.ledger.answered_again(_asked(ask), reply.num_bytes)
            return reply
        answer = self._answered(ask)
        if answer.replies is None:
            return self._refused(ask, answer)
        config = self._briefings[ask.briefing].config
        privacy = {**protection_of(config), **self._plant.charged(answer.replies.kind)}
        written = self._plant.ledger.answered(_asked(ask), answer.replies, privacy)
        reply = encode_answer(ask, replace(answer, ledger=written))
        if not answer.replies.kind.repeatable:
            self._plant.remember(task_id(ask), reply.to_bytes(), ask.tasks.round)
        return reply

    def _answered(self, ask: Ask) -> Answer:
        name = self._plant.name
        if ask.name != name:
            reason = f"this is {name}, not {ask.name}: it may use that client's key; make one of its own"
            return Answer(None, "name", reason, name)
        if _release(ask.version) != _release(__version__):
            reason = f"runs Werkbund {__version__}, the server {ask.version}; install the same version at both ends"
            return Answer(None, "version", reason, name)
        try:
            briefing = self._briefing(ask)
            if briefing is None:
                return Answer(None, "briefing", "what this run is about is not known here", name)
            return Answer(self._plant.answer(briefing, ask.tasks), name=name)
        except RefusedError as error:
            return Answer(None, "policy", f"refused by its policy: {error}", name)

    def _briefing(self, ask: Ask) -> Briefing | None:
        """Return what the run is about: as it came along, or as it is remembered here."""
        if ask.brief is not None:
            briefing = Briefing.from_json(ask.brief)
            if briefing.fingerprint != ask.briefing:
                raise ClientError(
                    f"the server's description of the run reads differently here; it may run another version than "
                    f"{__version__}. Install the same at both ends"
                )
            self._plant.folder.save_briefing(ask.briefing, json.dumps(ask.brief).encode())
            self._briefings = {ask.briefing: briefing}
        elif ask.briefing not in self._briefings:
            stored = self._plant.folder.briefing(ask.briefing)
            if stored is None:
                return None
            self._briefings = {ask.briefing: Briefing.from_json(json.loads(stored))}
        return self._briefings[ask.briefing]

    def _refused(self, ask: Ask, answer: Answer) -> Parcel:
        """Return a refusal; it is given even where it cannot be written down, because it says nothing about rows."""
        written = self._plant.ledger.refused(_asked(ask), answer.code, answer.reason)
        return encode_answer(ask, replace(answer, ledger=written))

    def _reason(self, error: BaseException, task: str) -> str:
        """Return why a task failed, as the server is told it; the plant's record has the error's own text."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        told = isinstance(error, ClientError | ConfigError | ModelError)
        if not told or task == "read":
            with suppress(OSError):
                self._plant.folder.event("error", task=task, error=f"{type(error).__name__}: {error}")
        if told:
            return str(error)
        _log.error("a task failed", exc_info=error)
        if isinstance(error, CheckpointError):
            return "what this plant keeps for itself was damaged; its state/events.jsonl names the file"
        if isinstance(error, OSError):
            why = os.strerror(error.errno) if error.errno else type(error).__name__
            return f"this plant cannot read or write its own files ({why}); mend its disk, or the access to its folder"
        # Whatever it is, the server must hear of it, but its text may quote rows.
        return f"{type(error).__name__}; its text stays at the plant, in state/events.jsonl"


def _asked(ask: Ask) -> Asked:
    """Return what the plant's ledger says of a question."""
    tasks, name = ask.tasks, ask.tasks.kind.vector_asked
    weights = weights_digest(tasks.own.get(name, tasks.shared.get(name)))
    about = (tasks.kind.name, ask.run, tasks.round, tasks.attempt)
    return Asked(*about, task_id(ask), ask.briefing, ask.version, weights)


def _release(version: str) -> list[str]:
    return version.split(".")[:2]


def serve(desk: Desk, questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer the parcels of one pipe on another, until the first ends."""
    while (parcel := read_parcel(questions)) is not None:
        write_parcel(answers, desk.answer(parcel))


def main(kit: Path) -> None:
    """Answer on standard output for the plant whose kit this is."""
    follow_parent()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a print must not get between parcels
    settings = load_settings(kit)
    serve(Desk(Plant(settings, PlantFolder(settings.state))), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
