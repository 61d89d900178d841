"""What a plant writes into its ledger: who asked what for what, which fields left in answer, or why none did.

Of what left, the ledger holds names, types, shapes, lengths, and a digest under a key that stays at the plant: a bare
digest of a few counts could be guessed, and with this one the plant can still show later what an answer was.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.metadata
import json
import platform
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from werkbund._version import __version__
from werkbund.config.sections import Config
from werkbund.core.arrays import AnyArray
from werkbund.core.errors import CheckpointError, ConfigError, FederationError
from werkbund.core.files import make_private, write_privately
from werkbund.core.keys import PrivateKey, new_key, read_private_key, ssh_private
from werkbund.core.kinds import Kind
from werkbund.core.text import one_line
from werkbund.core.types import Replies
from werkbund.engine.promise import RELATION
from werkbund.federation.wiring import promise_of
from werkbund.ledger import Head, Ledger
from werkbund.plant.agreed import FILE_NAME, agreed_config
from werkbund.plant.leaving import DELIVER
from werkbund.plant.settings import PlantSettings

FILE, OWN_KEY = "ledger.jsonl", "ledger.key"

ANSWER, REFUSAL, DELIVERY, POLICY, STARTED = "answer", "refusal", "delivery", "policy", "start"
"""Kinds of entries, beside incidents."""

_DIGESTS = "ledger.secret"
_LIBRARIES = ("numpy", "torch", "cryptography")
_LONGEST, _LONGEST_REASON = 200, 500


@dataclass(frozen=True)
class Asked:
    """Hold what is written of a question.

    Parameters
    ----------
    task
        Name of its kind.
    run, round, attempt
        Which it belongs to, as the server says.
    id
        Digest of the whole question: the same for the same one.
    briefing
        Fingerprint of the description of the run; empty if there is none.
    version
        Of the Werkbund that asks.
    weights
        SHA-256 of the weights that came, as raw numbers; empty if none did.
    """

    task: str
    run: str = ""
    round: int = 0
    attempt: int = 0
    id: str = ""
    briefing: str = ""
    version: str = ""
    weights: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; texts that somebody else chose are cut, and of letters that can be shown."""
        return {name: one_line(v, _LONGEST) if isinstance(v, str) else v for name, v in asdict(self).items()}


class PlantLedger:
    """Write a plant's ledger. Nothing is opened or made before the first entry.

    Parameters
    ----------
    settings
        Returns the plant's, as they are now.
    state
        Folder of what the plant keeps.
    clock
        Tells the time, with its zone.
    """

    def __init__(self, settings: Callable[[], PlantSettings], state: Path, clock: Callable[[], datetime]) -> None:
        self._settings, self._state, self._clock = settings, state, clock
        self._ledger: Ledger | None = None
        self._secret, self._purpose = b"", (-1, "")

    def answered(self, asked: Asked, replies: Replies, privacy: Mapping[str, Any]) -> Head:
        """Write that a question is answered, before the answer leaves.

        Parameters
        ----------
        asked
            The question.
        replies
            What is to leave.
        privacy
            By what it is protected, see `protection_of`.

        Raises
        ------
        OSError, CheckpointError
            If it cannot be written: then the answer must not leave.
        """
        ledger = self._opened()
        halves = {"sums": replies.sums, "clear": replies.clear}
        left = [self._left(asked, half, name, one) for half, named in halves.items() for name, one in named.items()]
        facts = {**asked.to_json(), **self._terms(), "left": left, "privacy": privacy}
        if replies.kind == DELIVER and "accepted" in replies.clear:
            accepted = json.loads(str(replies.clear["accepted"].ravel()[0]))["accepted"]
            return ledger.add(DELIVERY, {**facts, "accepted": bool(accepted)})
        return ledger.add(ANSWER, facts)

    def answered_again(self, asked: Asked, num_bytes: int) -> Head:
        """Write that the answer that was given before is given once more, to the same question."""
        return self._opened().add(ANSWER, {**asked.to_json(), **self._terms(), "again": True, "bytes": num_bytes})

    def refused(self, asked: Asked, code: str, reason: str) -> Head | None:
        """Write that a question is refused; None where it cannot be written: a refusal tells nothing of rows."""
        facts = {"code": code, "reason": one_line(reason, _LONGEST_REASON)}
        with suppress(OSError, FederationError):
            return self._opened().add(REFUSAL, {**asked.to_json(), **self._terms(), **facts})
        return None

    def note(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Write something else that is to be seen later."""
        self._opened().add(kind, facts)

    def note_policy(self) -> None:
        """Write what the plant allows from now on."""
        self.note(POLICY, policy_facts(self._settings()))

    def _opened(self) -> Ledger:
        if self._ledger is None:
            settings = self._settings()
            self._secret, key = _secret_in(self._state), _key_of(settings)
            self._ledger = Ledger(self._state / FILE, settings.client.name, key, self._clock, self._begins)
        return self._ledger

    def _begins(self) -> tuple[tuple[str, Mapping[str, Any]], ...]:
        settings = self._settings()
        versions = {"werkbund": __version__, "python": platform.python_version()}
        versions |= {name: importlib.metadata.version(name) for name in _LIBRARIES}
        started = {"software": versions, "server": {"root": root_of(settings), "address": settings.server.address}}
        return (STARTED, started), (POLICY, policy_facts(settings))

    def _terms(self) -> dict[str, Any]:
        """Return under which policy, for which purpose, and by which version something is done."""
        settings = self._settings()
        return {"purpose": self._agreed_purpose(), "policy": policy_digest(settings), "software": __version__}

    def _agreed_purpose(self) -> str:
        """Return the purpose that the plant has agreed to, read again when its file has changed."""
        file = self._settings().kit / FILE_NAME
        changed = file.stat().st_mtime_ns if file.is_file() else 0
        if self._purpose[0] != changed:
            self._purpose = changed, purpose_of(self._settings())
        return self._purpose[1]

    def _left(self, asked: Asked, half: str, name: str, array: AnyArray) -> dict[str, Any]:
        """Return what is written of one field of an answer."""
        dtype, content = _bytes_of(np.asarray(array))
        told = {"half": half, "name": name, "dtype": dtype, "shape": list(array.shape), "bytes": len(content)}
        return told | {"hmac": mac(self._secret, asked.id, half, name, content)}


def protection_of(config: Config) -> dict[str, Any]:
    """Return what a run's configuration says of how answers are protected; what has decimals is a text."""
    section = config.privacy.model_dump()
    by = ["sums that the server learns alone"] if config.privacy.secure_sums else []
    unit = section.get("unit", "none")
    by += [f"noise for each {unit}"] if unit != "none" else []
    return {"protected": ", ".join(by) or "minimum rows alone", "section": _without_decimals(section)}


def charge_of(config: Config, kind: Kind, rows: int) -> dict[str, Any]:
    """Return what an answer with an update costs of a promise whose noise is the plant's, as the accountant counts it.

    Epsilon is computed from all such charges, for any delta, and is written nowhere; what has decimals is a text.

    Parameters
    ----------
    config
        Of the run.
    kind
        Of the answer.
    rows
        Training rows of the plant.
    """
    promise = promise_of(config)
    if promise is None or not promise.is_kept_by_clients or not kind.updates:
        return {}
    how, noise = promise.how(rows), repr(promise.noise_at(rows))
    released = {"noise": noise, "rate": repr(how.rate), "count": how.steps, "shared": how.shared}
    return {"charge": {"unit": promise.unit, "relation": RELATION, **released, "delta": repr(promise.delta)}}


def mac(secret: bytes, question: str, half: str, name: str, content: bytes) -> str:
    """Return the HMAC-SHA-384 of a field that left, which the question, half and name enter too.

    So equal contents of two answers do not show as equal.
    """
    return hmac.new(secret, f"{question} {half} {name}\0".encode() + content, hashlib.sha384).hexdigest()


def signing_key(settings: PlantSettings) -> PrivateKey:
    """Return the key that signs a plant's ledger: the registered one; in a trial without TLS one of its own.

    Raises
    ------
    ConfigError
        If it cannot be read, or is open to others.
    """
    registered, own = Path(settings.server.private_key), settings.state / OWN_KEY
    if registered.is_file():
        return read_private_key(registered)
    if not own.is_file():
        make_private(settings.state)
        write_privately(own, ssh_private(new_key()))
    return read_private_key(own)


def _key_of(settings: PlantSettings) -> PrivateKey:
    """Return the key that signs; what is wrong with its file is for the plant alone."""
    try:
        return signing_key(settings)
    except ConfigError as error:
        raise CheckpointError(f"the ledger cannot be signed: {error}") from error


def policy_facts(settings: PlantSettings) -> dict[str, Any]:
    """Return what a plant allows, as its ledger says it: numbers with decimals are texts."""
    told = {name: getattr(settings, name).model_dump() for name in ("policy", "bounds", "acceptance")}
    return {"policy": policy_digest(settings), "allows": _without_decimals(told)}


def policy_digest(settings: PlantSettings) -> str:
    """Return sixteen hexadecimal digits that differ as soon as anything does that the plant allows."""
    told = {name: getattr(settings, name).model_dump() for name in ("policy", "bounds", "acceptance")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def purpose_of(settings: PlantSettings) -> str:
    """Return the purpose that the plant has agreed to; empty if it has agreed to nothing."""
    try:
        return one_line(agreed_config(settings.kit).federation.purpose, _LONGEST)
    except FederationError:
        return ""


def root_of(settings: PlantSettings) -> str:
    """Return the SHA-256 of the certificate by which the plant knows the server; empty in a trial without TLS."""
    path = Path(settings.server.root_certificates)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() and not settings.server.insecure else ""


def weights_digest(weights: AnyArray | None) -> str:
    """Return the SHA-256 of weights as raw little-endian numbers; empty for none."""
    return "" if weights is None else hashlib.sha256(_bytes_of(np.asarray(weights))[1]).hexdigest()


def _bytes_of(array: AnyArray) -> tuple[str, bytes]:
    """Return an array's type, and its content as bytes: raw little-endian numbers, texts as JSON."""
    if array.dtype.kind == "U":
        return "text", json.dumps(array.ravel().tolist(), ensure_ascii=False).encode()
    little = array.dtype.newbyteorder("<")
    return little.str, np.ascontiguousarray(array, dtype=little).tobytes()


def _without_decimals(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_decimals(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_decimals(inner) for inner in value]
    return repr(value) if isinstance(value, float) else value


def _secret_in(state: Path) -> bytes:
    """Return the key of the digests, drawn when it is first needed."""
    path = state / _DIGESTS
    if not path.is_file():
        make_private(state)
        write_privately(path, secrets.token_bytes(32))
    return path.read_bytes()
