"""What the operator decides about the server's processes: the file `server.toml` in the server's kit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from werkbund.config.reading import checked, read_toml
from werkbund.config.sections import Section

FILE_NAME = "server.toml"
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - the names of what an operator may choose
_HERE = ("127.0.0.1", "::1", "localhost")


class ServerSection(Section):
    """Say where the server listens, and by which names plants reach it."""

    host: str = "0.0.0.0"  # noqa: S104 - plants come from other machines; the gate keeps all else from them
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    names: list[str] = Field(default_factory=list)
    """DNS names and addresses that the certificate is made for."""
    insecure: bool = False
    """Without TLS and without keys; for trials on one machine."""

    @field_validator("host")
    @classmethod
    def _reaches_this_machine_itself(cls, host: str) -> str:
        if host not in (*_EVERYWHERE, *_HERE):
            raise ValueError(
                f"must be one of {', '.join((*_EVERYWHERE, *_HERE))}: the server's own parts come by the loopback "
                "address; let the firewall choose which networks may come in"
            )
        return host


class ServerFile(Section):
    """Hold the content of the server's file."""

    server: ServerSection = ServerSection()


class ServerSettings(ServerFile):
    """Hold the server's file and the folder that it lies in."""

    kit: Path

    @property
    def state(self) -> Path:
        """The folder of what must outlive the server's processes."""
        return self.kit / "state"

    @property
    def local_address(self) -> str:
        """Host and port by which this machine itself reaches the server."""
        host = "127.0.0.1" if self.server.host == _EVERYWHERE[0] else self.server.host
        return f"{'localhost' if ':' in host else host}:{self.server.port}"

    @property
    def root_certificates(self) -> bytes | None:
        """The CA's certificate in PEM; None without TLS."""
        return None if self.server.insecure else (self.kit / "ca.crt").read_bytes()


def load_server_settings(kit: Path) -> ServerSettings:
    """Read the server's file.

    Parameters
    ----------
    kit
        The folder that holds `server.toml`, or the file itself.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key, type or value breaks a rule; one line for each.
    """
    path = kit / FILE_NAME if kit.is_dir() else kit
    file = checked(ServerFile, read_toml(path, "werkbund provision"))
    return ServerSettings(kit=path.resolve().parent, server=file.server)
