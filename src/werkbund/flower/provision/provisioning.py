"""Make a federation's kits; add and revoke clients, and renew the server's certificate, while it runs.

Everything is checked before anything is written, and what is written appears whole. The one change that a running
server sees is a file in `server/clients/`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Literal

from werkbund.config import Config, load_config
from werkbund.core.defaults import SERVER_DAYS, SERVER_PORT
from werkbund.core.errors import ConfigError
from werkbund.core.files import make_private
from werkbund.core.keys import PrivateKey, PublicKey, fingerprint, new_key, read_public_key, ssh_public
from werkbund.flower.provision.certificates import (
    certificate_bytes,
    certified_key,
    new_authority,
    read_authority,
    read_certificate,
    server_certificate,
)
from werkbund.flower.provision.files import write_file, write_folder
from werkbund.flower.provision.hosts import check_hosts, check_port
from werkbund.flower.provision.keys import pem_private
from werkbund.flower.provision.kits import Site, client_files, read_site, server_files, server_readme, with_columns
from werkbund.flower.provision.members import Member, Members, check_name
from werkbund.flower.provision.parties import Provisioned, provisioned

PLANTS = "plants"
"""Folder of every kit with the public keys of all plants, by which they know one another in secure sums."""

Key = PrivateKey | PublicKey


def provision(
    config: Config,
    out: Path,
    clients: Sequence[str],
    hosts: Sequence[str],
    port: int = SERVER_PORT,
    days: int = SERVER_DAYS,
    public_keys: Mapping[str, Path] | None = None,
    now: datetime | None = None,
) -> Provisioned:
    """Make a CA, the server's kit and a kit for each client.

    Parameters
    ----------
    config
        The federation's configuration; kits get it without the paths of this machine.
    out
        Folder of the kits, made if need be; one that holds a CA is never written over.
    clients
        Names; empty: those of `config.data.clients`.
    hosts
        DNS names and addresses by which plants reach the server; they connect to the first.
    port
        The server's one port.
    days
        How long the server's certificate is valid.
    public_keys
        A file of OpenSSH for each client that made its own key; the others' keys are made here.
    now
        The moment at which certificates are made, with a time zone; None: the clock's.

    Raises
    ------
    ConfigError
        If an argument breaks a rule; nothing has been written then.
    """
    moment, given, config = now or datetime.now(UTC), dict(public_keys or {}), with_columns(config)
    site, names = Site(check_hosts(hosts), check_port(port)), tuple(clients) or tuple(config.data.clients)
    _check_clients(names, given)
    _check_new(out, names)
    keys = {name: _key(given.get(name)) for name in names}
    members = Members()
    for name, key in keys.items():
        members = members.with_new(_member(name, key, moment))
    authority, server_key = new_authority(config.federation.name, moment), new_key()
    certificate = server_certificate(authority, server_key.public_key(), site.hosts, moment, days)
    publics = {f"{name}.pub": ssh_public(_public(key), name) for name, key in keys.items()}
    with _staging(out) as staging:
        for name, key in keys.items():
            files = client_files(name, config, site, authority.certificate, key)
            write_folder(staging / name, {**files, **_within(PLANTS, publics)})
        server = server_files(config, site, authority.certificate, certificate, server_key)
        write_folder(staging / "server", {**server, **_within("clients", publics), **_within(PLANTS, publics)})
        ca = {"ca.key": pem_private(authority.key), "ca.crt": certificate_bytes(authority.certificate)}
        write_folder(staging / "ca", ca)
        members.write(staging / "ca" / "members.json")
        for name in (*names, "server", "ca"):
            (staging / name).rename(out / name)
    notes = [f"Start the server: werkbund server start {out / 'server'}", *_handing_over(out, names, given)]
    return provisioned(out, members, moment, notes)


def add_client(out: Path, name: str, public_key: Path | None = None, now: datetime | None = None) -> Provisioned:
    """Add a client to a federation, which may be running: a new kit, and its key for the server.

    Parameters
    ----------
    out
        A folder that `provision` wrote.
    name
        The new client's name; that of a revoked client may be given again, with another key.
    public_key
        A file of OpenSSH, if the plant made its own key.
    now
        The moment, with a time zone; None: the clock's.

    Raises
    ------
    ConfigError
        If the name or the key is taken, or a file that is needed is missing; nothing has been written then.
    """
    moment = now or datetime.now(UTC)
    ca, server = out / "ca", out / "server"
    members = Members.read(ca / "members.json")
    key = _key(public_key)
    members = members.with_new(_member(name, key, moment))
    site, config = read_site(server), load_config(server / "federation.toml")
    published = server / "clients" / f"{name}.pub"
    for path in (out / name, published):
        if path.exists():
            raise ConfigError(f"--add must not write over what is there, got {path}; move it away, then add again")
    files, public = client_files(name, config, site, read_certificate(ca / "ca.crt"), key), f"{name}.pub"
    known = {path.name: path.read_bytes() for path in sorted((server / PLANTS).glob("*.pub"))}
    known[public] = ssh_public(_public(key), name)
    with _staging(out) as staging:
        write_folder(staging / name, {**files, **_within(PLANTS, known)})
        (staging / name).rename(out / name)
    members.write(ca / "members.json")
    for folder in (published.parent, server / PLANTS):
        folder.mkdir(exist_ok=True)
        write_file(folder / public, known[public])
    given = {} if public_key is None else {name: public_key}
    notes = [*_handing_over(out, [name], given), _elsewhere(server, f"copy clients/{name}.pub and {PLANTS}/{name}.pub")]
    notes.append(f"For secure sums each plant needs {server / PLANTS / public} in the folder {PLANTS} of its kit.")
    return provisioned(out, members, moment, notes)


def revoke_client(out: Path, name: str, now: datetime | None = None) -> Provisioned:
    """Take a client's key away from the server, which may be running, for ever.

    Its public key is kept in `ca/revoked/`, and in `server/revoked/`, which wins over whatever is restored.

    Raises
    ------
    ConfigError
        If no member has this name, or its key has been revoked before.
    """
    moment = now or datetime.now(UTC)
    ca, server = out / "ca", out / "server"
    members = Members.read(ca / "members.json").revoke(name, _stamp(moment))
    published = server / "clients" / f"{name}.pub"
    if published.exists():  # else somebody has taken it away by hand
        for folder in (server / "revoked", ca / "revoked"):
            write_file(_free(make_private(folder), name), published.read_bytes())
        published.unlink()
    members.write(ca / "members.json")
    return provisioned(out, members, moment, [_elsewhere(server, f"move clients/{name}.pub to revoked/")])


def renew_server(out: Path, days: int = SERVER_DAYS, now: datetime | None = None) -> Provisioned:
    """Sign a new certificate for the server's key, by the same CA, for the names that `server.toml` states.

    Plants need nothing new. The key stays, so that the new certificate is the only file that the server needs.

    Raises
    ------
    ConfigError
        If the CA's key or a file of the server's kit is missing, or the CA ends before the certificate would.
    """
    moment = now or datetime.now(UTC)
    ca, server = out / "ca", out / "server"
    members, site = Members.read(ca / "members.json"), read_site(server)
    config, authority = load_config(server / "federation.toml"), read_authority(ca)
    key = certified_key(read_certificate(server / "server.crt"))
    certificate = server_certificate(authority, key, site.hosts, moment, days)
    write_file(server / "server.crt", certificate_bytes(certificate))
    write_file(server / "README.md", server_readme(config, site, authority.certificate, certificate))
    notes = ["Restart the server: it reads its certificate when it starts.", _elsewhere(server, "copy server.crt")]
    return provisioned(out, members, moment, notes)


def _check_clients(names: Sequence[str], public_keys: Mapping[str, Path]) -> None:
    if not names:
        raise ConfigError("--client must name each plant, got none; give --client plant-a or data.clients in the file")
    for name in names:
        check_name(name)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"--client must name each plant once, got {', '.join(twice)} twice; leave one out")
    strangers = sorted(set(public_keys) - set(names))
    if strangers:
        raise ConfigError(f"--public-key must be of a client that is named, got {', '.join(strangers)}; add --client")


def _check_new(out: Path, names: Sequence[str]) -> None:
    """Refuse a folder in which anything would be written over."""
    if any((out / "ca" / name).exists() for name in ("ca.key", "ca.crt", "members.json")):
        raise ConfigError(
            f"--out must hold no CA yet, got {out}, which is a federation already; change it with --add, --revoke or "
            "--renew, or choose another folder"
        )
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out must be a folder, got the file {out}; choose another")
    for name in ("ca", "server", *names):
        if (out / name).exists():
            raise ConfigError(f"--out must be free for the kits, got {out / name}, which exists; choose another folder")


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """Give a private folder within `out`, from which finished kits are moved to their place."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".new-", dir=out)
    except OSError as error:
        raise ConfigError(f"--out must be a folder to write to, got {out}: {error.strerror}; choose another") from error
    with folder as name:
        yield Path(name)


def _within(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def _key(public_key: Path | None) -> Key:
    return new_key() if public_key is None else read_public_key(public_key)


def _public(key: Key) -> PublicKey:
    return key.public_key() if isinstance(key, PrivateKey) else key


def _member(name: str, key: Key, moment: datetime) -> Member:
    made_by: Literal["operator", "plant"] = "operator" if isinstance(key, PrivateKey) else "plant"
    return Member(name, fingerprint(_public(key)), made_by, _stamp(moment))


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _free(folder: Path, name: str) -> Path:
    """Return a path for a revoked key that no earlier one of the same name has."""
    numbered = (folder / (f"{name}.pub" if number == 1 else f"{name}-{number}.pub") for number in count(1))
    return next(path for path in numbered if not path.exists())


def _handing_over(out: Path, names: Sequence[str], own: Mapping[str, Path]) -> list[str]:
    ours = [str(out / name) for name in names if name not in own]
    theirs = [str(out / name) for name in own]
    notes = []
    if ours:
        notes.append(
            f"Hand over {', '.join(ours)} in a way that nobody else can read, then delete the copy here: a plant's "
            "private key is in it."
        )
    if theirs:
        notes.append(f"Hand over {', '.join(theirs)}; the plant puts its own client.key in.")
    return notes


def _elsewhere(server: Path, what: str) -> str:
    return f"If the server runs from a copy of {server}, {what} there too."
