"""The server's file: what it may say, and what is said when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from werkbund.config import Config
from werkbund.core.errors import ConfigError
from werkbund.flower.provision import provision
from werkbund.flower.server.kit import load_server_settings


def _load(folder: Path, text: str) -> str:
    (folder / "server.toml").write_text(text)
    return load_server_settings(folder).local_address


def test_the_file_that_provisioning_writes_is_read(tmp_path: Path) -> None:
    provision(Config(), tmp_path, ["plant-a"], ["federation.example.com", "10.0.0.5"], port=8443)
    settings = load_server_settings(tmp_path / "server")
    assert settings.server.names == ["federation.example.com", "10.0.0.5"]
    assert (settings.server.host, settings.server.port, settings.server.insecure) == ("0.0.0.0", 8443, False)  # noqa: S104
    assert settings.root_certificates == (tmp_path / "server" / "ca.crt").read_bytes()
    assert settings.local_address == "127.0.0.1:8443"
    assert settings.state == settings.kit / "state"
    assert load_server_settings(tmp_path / "server" / "server.toml") == settings


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "127.0.0.1:8000"),  # noqa: S104
        ("127.0.0.1", "127.0.0.1:8000"),
        ("::", "localhost:8000"),
        ("::1", "[::1]:8000"),
    ],
)
def test_this_machine_reaches_the_server_whatever_it_listens_at(tmp_path: Path, host: str, address: str) -> None:
    assert _load(tmp_path, f'[server]\nhost = "{host}"\n') == address


def test_without_tls_there_are_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text("[server]\ninsecure = true\n")
    assert load_server_settings(tmp_path).root_certificates is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[server]\nhost = "10.0.0.5"', "let the firewall choose which networks may come in"),
        ("[server]\nport = 70000", "server.port"),
        ('[server]\ninsecure = "yes"', "server.insecure"),
        ("[server]\nprt = 8000", "server.prt"),
        ("[server", "is not TOML"),
    ],
)
def test_faults_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _load(tmp_path, text)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; write one with `werkbund provision`"):
        load_server_settings(tmp_path)
