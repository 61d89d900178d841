"""The files of a kit: configuration, certificates, keys, and texts that a plant engineer can follow literally.

The federation's configuration goes into a kit as it was set, without paths of the operator's machine.
"""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import tomlkit
from cryptography import x509

from werkbund._version import __version__
from werkbund.config import Config, changed
from werkbund.core.errors import ConfigError
from werkbund.core.keys import PrivateKey, PublicKey, fingerprint, ssh_private, ssh_public
from werkbund.federation.families.family import grows_trees
from werkbund.federation.tables import read_table
from werkbund.flower.provision.certificates import certificate_bytes
from werkbund.flower.provision.hosts import check_hosts, check_port, with_port
from werkbund.flower.provision.keys import pem_private

PACKAGE = f"werkbund[postgresql]=={__version__}"
"""What a party installs: the version that the kit was made for."""

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("werkbund.flower.provision", "templates"),
    autoescape=False,  # noqa: S701 - plain text, of names and addresses that have been checked
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


_CONFIG_HEAD = "# The configuration of the federation. Keys that are not here have their defaults.\n\n"


@dataclass(frozen=True)
class Site:
    """Hold where the server is reached.

    Parameters
    ----------
    hosts
        Names and addresses; plants connect to the first.
    port
        The one port that the server listens at.
    """

    hosts: tuple[str, ...]
    port: int

    @property
    def address(self) -> str:
        """What plants connect to, `host:port`."""
        return with_port(self.hosts[0], self.port)


def read_site(server: Path) -> Site:
    """Read where the server is reached from `server.toml` of its kit.

    Raises
    ------
    ConfigError
        If it is missing, or lacks the server's names or port.
    """
    path = server / "server.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))["server"]
        return Site(check_hosts(values["names"]), check_port(values["port"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} must have [server] with names and port: {error}; bring the server's kit back to this folder"
        ) from error


def server_files(
    config: Config, site: Site, authority: x509.Certificate, certificate: x509.Certificate, key: PrivateKey
) -> dict[str, bytes]:
    """Return the files of the server's kit, without the clients' keys."""
    values = _server_values(config, site, authority, certificate)
    return {
        "server.toml": _text("server.toml.j2", values),
        "federation.toml": server_config(config).encode(),
        "ca.crt": certificate_bytes(authority),
        "server.crt": certificate_bytes(certificate),
        "server.key": pem_private(key),
        "executor.secret": secrets.token_hex(32).encode(),
        "start.sh": _text("server-start.sh.j2", values),
        "werkbund-server.service": _text("werkbund-server.service.j2", values),
        "compose.yaml": _text("server-compose.yaml.j2", values),
        "README.md": _text("server-README.md.j2", values),
    }


def server_readme(config: Config, site: Site, authority: x509.Certificate, certificate: x509.Certificate) -> bytes:
    """Return the server's README.md, which states when the certificate ends."""
    return _text("server-README.md.j2", _server_values(config, site, authority, certificate))


def client_files(
    name: str, config: Config, site: Site, authority: x509.Certificate, key: PrivateKey | PublicKey
) -> dict[str, bytes]:
    """Return the files of a client's kit; given a public key alone, the kit has no `client.key`."""
    private, public = (key, key.public_key()) if isinstance(key, PrivateKey) else (None, key)
    values = {
        "federation": config.federation.name,
        "address": site.address,
        "has_key": private is not None,
        "fingerprint": fingerprint(public),
        "columns": _columns(config),
        "trees": grows_trees(config),
        **_common(name, authority),
    }
    files = {
        "client.toml": _text("client.toml.j2", values),
        "federation.toml": plant_config(config).encode(),
        "ca.crt": certificate_bytes(authority),
        "client.pub": ssh_public(public, name),
        "start.sh": _text("client-start.sh.j2", values),
        "werkbund-client.service": _text("werkbund-client.service.j2", values),
        "compose.yaml": _text("client-compose.yaml.j2", values),
        "README.md": _text("client-README.md.j2", values),
    }
    return files if private is None else {**files, "client.key": ssh_private(private)}


def server_config(config: Config) -> str:
    """Return the server's `federation.toml`: the data are at the plants, so no path to data is left in it."""
    return _written(_stripped(config))


def plant_config(config: Config) -> str:
    """Return a plant's `federation.toml`: like the server's, and without the path of first weights."""
    values = _stripped(config)
    model = values.get("model", {})
    initial = str(model.get("initial", "random"))
    if initial not in ("random", "client") and not initial.startswith("client:"):
        del model["initial"]
    return _written(values)


def _server_values(
    config: Config, site: Site, authority: x509.Certificate, certificate: x509.Certificate
) -> dict[str, Any]:
    return {
        "federation": config.federation.name,
        "names": json.dumps(list(site.hosts)),
        "address": site.address,
        "port": site.port,
        "trees": grows_trees(config),
        "certificate_end": _day(certificate.not_valid_after_utc),
        **_common("server", authority),
    }


def _common(party: str, authority: x509.Certificate) -> dict[str, Any]:
    return {
        "party": party,
        "package": PACKAGE,
        "version": __version__,
        "authority_end": _day(authority.not_valid_after_utc),
    }


def _text(template: str, values: Mapping[str, Any]) -> bytes:
    return _TEMPLATES.get_template(template).render(values).encode()


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def with_columns(config: Config) -> Config:
    """Return a configuration that lists its feature columns, as a plant needs it, which must not guess them.

    Where the label is named and no column is, they are read off the table that the configuration names.

    Raises
    ------
    ConfigError
        If there is no table to read them off.
    """
    data = config.data
    if (data.label is None and data.windows.step is None) or data.columns:
        return config
    if data.windows.step is not None:
        raise ConfigError("data.columns must list the signals where data.windows.step is set, got none")
    if data.path is None and not data.clients:
        raise ConfigError(
            "data.columns must list the feature columns, each with kind and unit, got none: plants must all learn from "
            "the same; `werkbund init TABLE` writes such a list"
        )
    features = read_table(config).schema.features
    listed = {
        column.name: {"kind": column.kind, "unit": column.unit, "low": column.low, "high": column.high}
        for column in features
    }
    known = {name: {key: value for key, value in keys.items() if value is not None} for name, keys in listed.items()}
    return changed(config, data={"columns": known})


def _columns(config: Config) -> list[str]:
    """Return a line of `[columns]` in `client.toml` for each column that the federation names, without renaming any."""
    data = config.data
    roles = (data.label, data.machine, data.time, data.mode, *data.modes)
    units = {name: column.unit for name, column in data.columns.items()}
    named = [name for name in dict.fromkeys((*roles, data.windows.regime, *units)) if name]
    return [f"{_quoted(name)} = {_mapped(name, units.get(name, ''))}" for name in named]


def _mapped(name: str, unit: str) -> str:
    return f"{{ column = {_quoted(name)}, unit = {_quoted(unit)} }}" if unit else _quoted(name)


def _quoted(text: str) -> str:
    return tomlkit.string(text).as_string()


def _stripped(config: Config) -> dict[str, Any]:
    values = config.model_dump(exclude_unset=True)
    for key in ("path", "clients", "events"):
        values.get("data", {}).pop(key, None)
    return values


def _written(values: dict[str, Any]) -> str:
    return _CONFIG_HEAD + tomlkit.dumps({section: keys for section, keys in _without_none(values).items() if keys})


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in values.items() if value is not None}
    return {key: _without_none(value) if isinstance(value, dict) else value for key, value in given.items()}
