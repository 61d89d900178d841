"""The operator's list of members, `ca/members.json`: who may join, by which key, and who no longer may."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from werkbund.core.errors import CheckpointError, ConfigError
from werkbund.core.stored import read_stored
from werkbund.flower.provision.files import write_file

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RESERVED = {"ca", "server"}
"""Folders beside the plants' kits."""

LONGEST = 64


def check_name(name: str) -> str:
    """Return a client's name if it is one.

    Raises
    ------
    ConfigError
        If it is not made of letters, digits, `.`, `_` and `-`, is too long, or has another meaning.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise ConfigError(
            f"a client's name must be 1 to {LONGEST} letters, digits, '.', '_' or '-', the first a letter or digit, "
            f"got {name!r}; choose another, such as plant-a"
        )
    if name.casefold() in _RESERVED:
        raise ConfigError(f"a client's name must not be 'ca' or 'server', got {name!r}; choose another")
    return name


@dataclass(frozen=True)
class Member:
    """Describe a client that is or was a member.

    Parameters
    ----------
    name
        The client's stable name.
    fingerprint
        That of its public key, `SHA256:...`.
    key_made_by
        `operator`, or `plant` if the private key never left it.
    added, revoked
        When, in ISO 8601; `revoked` is None for a member in good standing.
    """

    name: str
    fingerprint: str
    key_made_by: Literal["operator", "plant"]
    added: str
    revoked: str | None = None


class MemberEntry(BaseModel, extra="forbid"):
    """Say what the file of members tells of one: the fields of `Member`."""

    name: str
    fingerprint: str
    key_made_by: Literal["operator", "plant"]
    added: str
    revoked: str | None = None


class MemberList(BaseModel):
    """Say what the file of members holds at least."""

    members: list[MemberEntry]


@dataclass(frozen=True)
class Members:
    """Hold all clients that there are or were, in the order in which they were added."""

    entries: tuple[Member, ...] = ()

    @property
    def active(self) -> tuple[Member, ...]:
        """Members that have not been revoked."""
        return tuple(member for member in self.entries if member.revoked is None)

    def with_new(self, member: Member) -> Members:
        """Return the list with one more member.

        Raises
        ------
        ConfigError
            If its name is not one, is taken (in whatever case), or its key is or was another's.
        """
        check_name(member.name)
        for present in self.active:
            if present.name.casefold() == member.name.casefold():
                raise ConfigError(
                    f"a client's name must be its own, got {member.name!r}, and {present.name!r} is a member already; "
                    "choose another name, or revoke that client first"
                )
        for known in self.entries:
            if known.fingerprint == member.fingerprint:
                state = "revoked client" if known.revoked else "client"
                raise ConfigError(
                    f"a key must belong to one client, got {member.fingerprint} for {member.name!r}, the key of "
                    f"{state} {known.name!r}; make a new pair with `werkbund client keygen`"
                )
        return Members((*self.entries, member))

    def find(self, name: str) -> Member:
        """Return the active member of this name.

        Raises
        ------
        ConfigError
            If there is none.
        """
        for member in self.active:
            if member.name == name:
                return member
        gone = any(member.name == name for member in self.entries)
        names = ", ".join(member.name for member in self.active) or "nobody"
        reason = "was revoked already" if gone else "is none"
        raise ConfigError(f"--revoke must name a member, got {name!r}, which {reason}; members are {names}")

    def revoke(self, name: str, when: str) -> Members:
        """Return the list with a member marked as revoked at the moment `when`, in ISO 8601.

        Raises
        ------
        ConfigError
            If there is no such member.
        """
        member = self.find(name)
        revoked = replace(member, revoked=when)
        return Members(tuple(revoked if entry is member else entry for entry in self.entries))

    def write(self, path: Path) -> None:
        """Write the list to a file that appears whole."""
        value = {"format": 1, "members": [asdict(member) for member in self.entries]}
        write_file(path, (json.dumps(value, indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: Path) -> Members:
        """Read a list from its file.

        Raises
        ------
        ConfigError
            If the file is missing, or is not one that `write` wrote.
        """
        try:
            value = read_stored(path, MemberList, "bring back a copy of it")
        except CheckpointError as error:
            if path.exists():
                raise ConfigError(f"{path} must be the list of members: {error}") from error
            raise ConfigError(
                f"--out must be a folder that `werkbund provision` wrote, got {path.parent.parent} without "
                "ca/members.json; name that folder, or make a new one with --client and --host"
            ) from error
        return cls(tuple(Member(**entry) for entry in value["members"]))
