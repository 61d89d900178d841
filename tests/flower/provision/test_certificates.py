"""Certificates, as Python's own TLS sees them in a handshake over loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from werkbund.core.errors import ConfigError
from werkbund.core.keys import new_key
from werkbund.flower.provision import certificate_warnings, expiry
from werkbund.flower.provision.certificates import (
    certificate_bytes,
    new_authority,
    read_authority,
    read_certificate,
    server_certificate,
)
from werkbund.flower.provision.files import write_folder
from werkbund.flower.provision.keys import pem_private

NOW = datetime.now(UTC).replace(microsecond=0)


def kit(folder: Path, now: datetime = NOW, days: int = 90, hosts: tuple[str, ...] = ("10.0.0.5",)) -> Path:
    """Write a CA and a certificate that it signed."""
    authority, key = new_authority("pumps", now), new_key()
    certificate = server_certificate(authority, key.public_key(), hosts, now, days)
    files = {
        "ca.key": pem_private(authority.key),
        "ca.crt": certificate_bytes(authority.certificate),
        "server.key": pem_private(key),
        "server.crt": certificate_bytes(certificate),
    }
    write_folder(folder, files)
    return folder


def _serve_once(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(10)
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.sendall(b"welcome")
        except OSError:  # the other side did not like the certificate
            pass


def handshake(server: Path, authority: Path, name: str) -> bytes:
    """Connect with TLS to a server with this kit, trusting only this CA, and return what it says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server / "server.crt", server / "server.key")
    trusting = ssl.create_default_context(cafile=str(authority))
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve_once, args=(listener, context))
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=10) as plain,
                trusting.wrap_socket(plain, server_hostname=name) as secured,
            ):
                return secured.recv(7)
        finally:
            thread.join()


@pytest.mark.parametrize("name", ["federation.example.com", "10.0.0.5", "localhost", "127.0.0.1", "::1"])
def test_a_plant_that_trusts_the_ca_gets_in_by_every_name(name: str, tmp_path: Path) -> None:
    server = kit(tmp_path / "server", hosts=("federation.example.com", "10.0.0.5", "::1"))
    assert handshake(server, server / "ca.crt", name) == b"welcome"


def test_another_ca_of_the_same_name_is_not_believed(tmp_path: Path) -> None:
    server, other = kit(tmp_path / "server"), kit(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        handshake(server, other / "ca.crt", "localhost")


def test_a_name_that_is_not_in_the_certificate_is_not_believed(tmp_path: Path) -> None:
    server = kit(tmp_path / "server")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, server / "ca.crt", "federation.example.com")


def test_an_expired_certificate_is_not_believed(tmp_path: Path) -> None:
    server = kit(tmp_path / "server", now=NOW - timedelta(days=100), days=90)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        handshake(server, server / "ca.crt", "localhost")


def test_a_servers_certificate_cannot_sign_another(tmp_path: Path) -> None:
    certificate = read_certificate(kit(tmp_path / "server") / "server.crt")
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_expiry_is_the_end_that_was_asked_for(tmp_path: Path) -> None:
    server = kit(tmp_path / "server", days=90)
    assert expiry(server / "server.crt") == NOW + timedelta(days=90)
    assert expiry(server / "ca.crt") == NOW + timedelta(days=3650)


@pytest.mark.parametrize(
    ("days_later", "text"),
    [
        (-3, "valid only from"),
        (0, ""),
        (59, ""),
        (61, "server.crt expires in 29 days"),
        (90, "server.crt has expired"),
        (3000, "server.crt has expired"),
    ],
)
def test_warnings_come_in_the_last_thirty_days(days_later: int, text: str, tmp_path: Path) -> None:
    warnings = certificate_warnings(kit(tmp_path / "server"), NOW + timedelta(days=days_later))
    assert all(text in warning for warning in warnings[-1:])
    assert bool(warnings) == bool(text)


def test_the_end_of_the_ca_asks_for_new_kits(tmp_path: Path) -> None:
    server = kit(tmp_path / "server")
    (server / "server.crt").unlink()  # as in a plant's kit
    (warning,) = certificate_warnings(server, NOW + timedelta(days=3640))
    assert "ca.crt expires in 10 days" in warning
    assert "kits anew" in warning


def test_a_kit_without_certificates_has_no_warnings(tmp_path: Path) -> None:
    assert certificate_warnings(tmp_path, NOW) == []


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_a_certificate_must_end_before_its_ca(days: int) -> None:
    with pytest.raises(ConfigError, match=r"--days must be in 1\.\.36"):
        server_certificate(new_authority("pumps", NOW), new_key().public_key(), ["a.example"], NOW, days)


def test_a_ca_that_has_expired_signs_nothing() -> None:
    old = new_authority("pumps", NOW - timedelta(days=4000))
    with pytest.raises(ConfigError, match="CA itself has expired"):
        server_certificate(old, new_key().public_key(), ["a.example"], NOW, 10)


def test_a_long_name_of_a_federation_fits_its_certificate() -> None:
    assert new_authority("n" * 200, NOW).certificate.subject.rfc4514_string() == "CN=Werkbund CA,O=" + "n" * 64


def test_a_ca_is_read_back(tmp_path: Path) -> None:
    folder = kit(tmp_path / "ca")
    assert read_authority(folder).certificate == read_certificate(folder / "ca.crt")


def test_the_key_of_another_ca_is_refused(tmp_path: Path) -> None:
    folder, other = kit(tmp_path / "ca"), kit(tmp_path / "other")
    (other / "ca.key").replace(folder / "ca.key")
    with pytest.raises(ConfigError, match=r"must belong to ca\.crt"):
        read_authority(folder)


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "ca.crt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca\.crt must be a certificate in PEM"):
        expiry(tmp_path / "ca.crt")
