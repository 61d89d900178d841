"""Who has a kit, where it lies and until when it is good: what the operator is shown after each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from werkbund.flower.provision.certificates import certificate_warnings, expiry
from werkbund.flower.provision.members import Member, Members


@dataclass(frozen=True)
class Party:
    """Describe who has a kit: the CA, the server, or a client.

    Parameters
    ----------
    name
        `ca`, `server`, or the client's name.
    kit
        Its folder.
    private_key
        Where its private key lies; None if it is not here, but with the party.
    expires
        When the server's certificate, or else that of the CA, ends; in UTC. A client's kit is good as long as the CA.
    fingerprint
        That of a client's public key; empty for others.
    """

    name: str
    kit: Path
    private_key: Path | None
    expires: datetime
    fingerprint: str = ""


@dataclass(frozen=True)
class Provisioned:
    """Hold the state of a folder of kits.

    Parameters
    ----------
    out
        The folder.
    parties
        The CA, the server, and each member.
    notes
        What is left to do.
    warnings
        Certificates that end soon.
    """

    out: Path
    parties: tuple[Party, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON's types."""
        return {
            "out": str(self.out),
            "parties": [_party_to_json(party) for party in self.parties],
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


def provisioned(out: Path, members: Members, now: datetime, notes: Sequence[str] = ()) -> Provisioned:
    """Return the state of a folder of kits, read from its files.

    Raises
    ------
    ConfigError
        If a certificate cannot be read.
    """
    ca, server = out / "ca", out / "server"
    authority_end = expiry(ca / "ca.crt")
    parties = (
        Party("ca", ca, _if_there(ca / "ca.key"), authority_end),
        Party("server", server, _if_there(server / "server.key"), expiry(server / "server.crt")),
        *(_client(out, member, authority_end) for member in members.active),
    )
    return Provisioned(out, parties, tuple(notes), tuple(certificate_warnings(server, now)))


def _client(out: Path, member: Member, end: datetime) -> Party:
    kit = out / member.name
    return Party(member.name, kit, _if_there(kit / "client.key"), end, member.fingerprint)


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None


def _party_to_json(party: Party) -> dict[str, Any]:
    return {
        "name": party.name,
        "kit": str(party.kit),
        "private_key": None if party.private_key is None else str(party.private_key),
        "expires": party.expires.isoformat(),
        "fingerprint": party.fingerprint,
    }
