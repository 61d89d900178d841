"""The command that hands out certificates, keys and kits, and changes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from werkbund.cli.edge import ConfigArgument, JsonOption, output, print_json, progress, readable_errors
from werkbund.cli.tables import plain_table
from werkbund.core.defaults import SERVER_DAYS, SERVER_PORT
from werkbund.core.errors import ConfigError

if TYPE_CHECKING:
    from werkbund.flower.provision import Party, Provisioned

Names = Annotated[list[str] | None, typer.Option("--client", help="Name of a plant, such as plant-a; repeat it.")]
Hosts = Annotated[
    list[str] | None, typer.Option("--host", help="DNS name or IP address by which plants reach the server; repeat it.")
]
PublicKeys = Annotated[
    list[str] | None,
    typer.Option("--public-key", metavar="NAME=FILE", help="Public key that a plant made itself; repeat it."),
]


def provision_command(
    config: ConfigArgument = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the kits.")] = Path("kits"),
    clients: Names = None,
    hosts: Hosts = None,
    port: Annotated[
        int | None, typer.Option("--port", help=f"The server's one port; {SERVER_PORT} without it.")
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", help=f"Life of the server's certificate in days; {SERVER_DAYS} without it.")
    ] = None,
    public_keys: PublicKeys = None,
    add: Annotated[str | None, typer.Option("--add", metavar="NAME", help="Add a client to existing kits.")] = None,
    revoke: Annotated[str | None, typer.Option("--revoke", metavar="NAME", help="Take a client's key away.")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Renew the server's certificate.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a CA, the server's certificate, and a kit for the server and each plant; or change what was made."""
    with readable_errors():
        from werkbund.config import load_config
        from werkbund.flower.provision import add_client, provision, renew_server, revoke_client

        keys = _public_keys(public_keys or [])
        making = {"CONFIG": config, "--client": clients, "--host": hosts, "--port": port}
        if add is not None:
            _alone("--add", {**making, "--days": days, "--revoke": revoke, "--renew": renew})
            _only(keys, add)
            provisioned = add_client(out, add, keys.get(add))
        elif revoke is not None:
            _alone("--revoke", {**making, "--days": days, "--public-key": public_keys, "--renew": renew})
            provisioned = revoke_client(out, revoke)
        elif renew:
            _alone("--renew", {**making, "--public-key": public_keys})
            provisioned = renew_server(out, _or(days, SERVER_DAYS))
        else:
            loaded = load_config(config)
            provisioned = provision(
                loaded, out, clients or [], hosts or [], _or(port, SERVER_PORT), _or(days, SERVER_DAYS), keys
            )
        _show(provisioned, as_json, keys)


def parties_table(parties: Sequence[Party]) -> Table:
    """Return who has a kit, where its private key lies and until when it is valid."""
    table = plain_table("Kits")
    table.add_column("party", no_wrap=True)
    for title in ("kit", "private key"):
        table.add_column(title, overflow="fold")
    table.add_column("valid until", no_wrap=True)
    for party in parties:
        key = "at the plant" if party.private_key is None else str(party.private_key)
        table.add_row(*(Text(text) for text in (party.name, str(party.kit), key, f"{party.expires:%Y-%m-%d}")))
    return table


def _show(provisioned: Provisioned, as_json: bool, own: Collection[str] = ()) -> None:
    """Print who has a kit and what to do next; of those in `own`, who made their key themselves, the fingerprint."""
    for warning in provisioned.warnings:
        progress().print(Text.assemble(("Warning: ", "yellow"), warning), soft_wrap=True)
    if as_json:
        print_json(provisioned.to_json())
        return
    console = output()
    console.print(parties_table(provisioned.parties))
    console.print()
    for party in provisioned.parties:
        if party.name in own:
            console.print(Text(f"Fingerprint of {party.name}'s key: {party.fingerprint}"), soft_wrap=True)
    for note in provisioned.notes:
        console.print(Text(note), soft_wrap=True)


def _public_keys(pairs: Sequence[str]) -> dict[str, Path]:
    """Return the files by client's name, from a text `NAME=FILE` each."""
    keys: dict[str, Path] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise ConfigError(f"--public-key must be NAME=FILE, got {pair!r}; write --public-key plant-a=plant-a.pub")
        if name in keys:
            raise ConfigError(f"--public-key must be given once for a client, got {name} twice; leave one out")
        keys[name] = Path(file)
    return keys


def _alone(option: str, forbidden: dict[str, object]) -> None:
    """Refuse an option that changes kits beside those that make them."""
    given = [name for name, value in forbidden.items() if value]
    if given:
        raise ConfigError(f"{option} changes kits that exist and must stand without {', '.join(given)}; leave that out")


def _only(keys: dict[str, Path], name: str) -> None:
    """Refuse public keys of clients other than the one that is added."""
    strangers = sorted(set(keys) - {name})
    if strangers:
        raise ConfigError(f"--public-key must be of the client that is added, {name}, got {', '.join(strangers)}")


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
