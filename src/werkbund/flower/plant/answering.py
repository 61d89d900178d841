"""A plant's end of a message: a parcel comes in, the plant does what it asks, a parcel goes out."""

from __future__ import annotations

import json
import logging
from typing import Any

from werkbund._version import __version__
from werkbund.core.errors import ClientError, ConfigError, ModelError
from werkbund.federation.briefing import Briefing
from werkbund.flower.wire.codec import WHO, Answer, Ask, decode_ask, encode_answer, encode_refusal, task_id
from werkbund.flower.wire.parcel import Parcel
from werkbund.plant import Plant, RefusedError

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
        """Return the answer to a task, or why there is none."""
        try:
            ask = decode_ask(parcel, self._kinds)
        except ClientError as error:
            self._plant.folder.event("error", task="read", error=str(error))
            return encode_refusal("protocol", str(error), self._plant.name)
        if ask.tasks.kind == WHO:
            return encode_answer(ask, Answer(None, "name", "", self._plant.name))
        recorded = self._plant.recall(task_id(ask))
        if recorded is not None:
            return Parcel.from_bytes(recorded)
        answer = self._answered(ask)
        reply = encode_answer(ask, answer)
        if answer.replies is not None and not ask.tasks.kind.repeatable:
            self._plant.remember(task_id(ask), reply.to_bytes(), ask.tasks.round)
        self._note(ask, answer, reply)
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
        except (ClientError, ConfigError, ModelError) as error:
            return Answer(None, "failed", str(error), name)
        except Exception as error:  # whatever it is, the server must hear of it, but its text may quote rows
            _log.exception("a task failed")
            self._plant.folder.event("error", task=ask.tasks.kind.name, error=f"{type(error).__name__}: {error}")
            what = f"{type(error).__name__}; its text stays at the plant, where `werkbund client check` shows it"
            return Answer(None, "failed", what, name)

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

    def _note(self, ask: Ask, answer: Answer, reply: Parcel) -> None:
        facts: dict[str, Any] = {"task": ask.tasks.kind.name, "run": ask.run, "round": ask.tasks.round}
        if answer.replies is None:
            facts |= {"refused": answer.code, "reason": answer.reason}
        else:
            halves = {"sums": answer.replies.sums, "clear": answer.replies.clear}
            facts["left"] = {half: sorted(named) for half, named in halves.items() if named}
        self._plant.folder.event("answer", **facts, bytes=reply.num_bytes)


def _release(version: str) -> list[str]:
    return version.split(".")[:2]
