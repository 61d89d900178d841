"""The federation's own certificate authority, and the server's certificate that it signs.

Plants trust this CA and no other: their kits carry its certificate. Its key stays with the operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from werkbund.core.defaults import SERVER_DAYS
from werkbund.core.errors import ConfigError
from werkbund.core.keys import PrivateKey, PublicKey, new_key
from werkbund.flower.provision.hosts import LOOPBACK, as_address

AUTHORITY_DAYS = 3650
WARN_DAYS = 30
"""Days before its end from which on a certificate is warned of."""

_CLOCK_SLACK = timedelta(days=1)
"""Certificates are valid from a day before they were made: clocks at plants may be behind."""


@dataclass(frozen=True)
class Authority:
    """Hold a certificate authority (CA): its private key and its certificate."""

    key: PrivateKey
    certificate: x509.Certificate


def new_authority(name: str, now: datetime, days: int = AUTHORITY_DAYS) -> Authority:
    """Make a CA for the federation of this name, valid for `days` from `now`."""
    key = new_key()
    subject = _name(name, "Werkbund CA")
    builder = _builder(subject, subject, key.public_key(), now, days)
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    return Authority(key, builder.sign(key, hashes.SHA384()))


def read_authority(folder: Path) -> Authority:
    """Read a CA from `ca.key` and `ca.crt` in a folder.

    Raises
    ------
    ConfigError
        If one of them is missing or unreadable, or they are not a pair.
    """
    certificate = read_certificate(folder / "ca.crt")
    try:
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{folder / 'ca.key'} must be the CA's private key: {error}; bring it back here") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ConfigError(f"{folder / 'ca.key'} must belong to ca.crt beside it; bring the right pair back here")
    return Authority(key, certificate)


def server_certificate(
    authority: Authority, key: PublicKey, hosts: Sequence[str], now: datetime, days: int = SERVER_DAYS
) -> x509.Certificate:
    """Sign a certificate for the server.

    Parameters
    ----------
    authority
        Who signs.
    key
        The server's public key.
    hosts
        DNS names and IP addresses by which plants reach it; `localhost`, `127.0.0.1` and `::1` are added.
    now, days
        Start and length of its life.

    Raises
    ------
    ConfigError
        If it would outlive its CA, or never be valid.
    """
    left = (authority.certificate.not_valid_after_utc - now).days
    if not 1 <= days <= left:
        remedy = "choose fewer days" if left >= 1 else "the CA itself has expired; make a new federation"
        raise ConfigError(f"--days must be in 1..{left} (the days that the CA has left), got {days}; {remedy}")
    issuer = authority.certificate.subject
    organization = str(issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)
    builder = _builder(_name(organization, "Werkbund server"), issuer, key, now, days)
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName(_alternatives(hosts)), False),
        (issued_by, False),
    ):
        builder = builder.add_extension(extension, critical)
    return builder.sign(authority.key, hashes.SHA384())


def certificate_bytes(certificate: x509.Certificate) -> bytes:
    """Return a certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate from a file in PEM.

    Raises
    ------
    ConfigError
        If there is no such file, or it holds no certificate in PEM.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} must be a certificate in PEM: {error}; copy it again from where it was made"
        ) from error


def certified_key(certificate: x509.Certificate) -> PublicKey:
    """Return the public key that a certificate vouches for.

    Raises
    ------
    ConfigError
        If it is of another kind than those that `provision` makes.
    """
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigError("server.crt must be one that `werkbund provision` made, got another kind of key; restore it")
    return key


def expiry(path: Path) -> datetime:
    """Return the moment, in UTC, from which a certificate is no longer valid.

    Raises
    ------
    ConfigError
        If the certificate cannot be read.
    """
    return read_certificate(path).not_valid_after_utc


def certificate_warnings(kit: Path, now: datetime) -> list[str]:
    """Return a line for each certificate of a kit that is not valid `now`, or has fewer than `WARN_DAYS` days left.

    Parameters
    ----------
    kit
        A server's or a client's kit; certificates that it does not have are passed over.
    now
        A moment with a time zone.

    Raises
    ------
    ConfigError
        If a certificate is there but cannot be read.
    """
    paths = [kit / name for name in ("ca.crt", "server.crt")]
    lines = [_warning(path, read_certificate(path), now) for path in paths if path.exists()]
    return [line for line in lines if line]


def _warning(path: Path, certificate: x509.Certificate, now: datetime) -> str:
    end, start = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    if now < start:
        return f"{path} is valid only from {start:%Y-%m-%d %H:%M} UTC on; check this machine's clock"
    if path.name == "ca.crt":
        remedy = "the operator must make the federation's kits anew with `werkbund provision`"
    else:
        remedy = "renew it with `werkbund provision --renew`, then restart the server"
    if now >= end:
        return f"{path} has expired, on {end:%Y-%m-%d}; {remedy}"
    left = (end - now).days
    return f"{path} expires in {left} days, on {end:%Y-%m-%d}; {remedy}" if left < WARN_DAYS else ""


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    start = now.astimezone(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _CLOCK_SLACK)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(organization: str, common: str) -> x509.Name:
    values = ((NameOID.ORGANIZATION_NAME, organization[:64]), (NameOID.COMMON_NAME, common))  # 64: the standard's limit
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in values])


def _alternatives(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys((*hosts, *LOOPBACK)):
        address = as_address(host)
        names.append(x509.DNSName(host) if address is None else x509.IPAddress(address))
    return names


def _usage(digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
