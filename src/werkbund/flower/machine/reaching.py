"""Why a server cannot be reached, in words for the people at a plant; and what its clock says."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography import x509

PATIENCE_S = 10.0
CLOCK_TOLERANCE_S = 240.0
"""Flower refuses requests whose time is 300 seconds off."""

_EXPIRED, _NOT_YET, _WRONG_NAME, _WRONG_ADDRESS = 10, 9, 62, 64  # OpenSSL's X509_V_ERR_...


@dataclass(frozen=True)
class Trouble:
    """Say why the server cannot be reached.

    Parameters
    ----------
    text
        For people: what is wrong, and what to do.
    passing
        Whether it may go away by itself.
    """

    text: str
    passing: bool = False


def find_trouble(address: str, root_certificates: Path | None) -> Trouble | None:
    """Try to reach the server and return what stands in the way; None if nothing does.

    Parameters
    ----------
    address
        Host and port.
    root_certificates
        The CA's certificate; None without TLS.
    """
    host, port = split_address(address)
    try:
        connection = _connection(host, port, root_certificates)
    except (OSError, ValueError) as error:  # `ssl.SSLError` is an OSError
        return Trouble(f"{root_certificates} is no certificate ({error}); copy ca.crt from the kit again")
    try:
        connection.request("GET", "/health")
        response = connection.getresponse()
        return _clock(response.getheader("Date"))
    except ssl.SSLCertVerificationError as error:
        return Trouble(_certificate(error, host, port, root_certificates))
    except (ssl.SSLError, http.client.HTTPException, ConnectionResetError) as error:
        return Trouble(_other_language(address, root_certificates, error), passing=True)
    except socket.gaierror:
        return Trouble(
            f"the name {host} cannot be resolved; check [server] address in client.toml and this machine's network; "
            "trying again",
            passing=True,
        )
    except OSError as error:
        reason = "connection refused" if isinstance(error, ConnectionRefusedError) else str(error) or "no answer"
        return Trouble(f"server {address} is not reachable ({reason}); trying again", passing=True)
    finally:
        connection.close()


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of an address.

    Examples
    --------
    >>> split_address("[::1]:8000")
    ('::1', 8000)
    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _connection(host: str, port: int, root_certificates: Path | None) -> http.client.HTTPConnection:
    if root_certificates is None:
        return http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(root_certificates))
    return http.client.HTTPSConnection(host, port, timeout=PATIENCE_S, context=context)


def _clock(date: str | None) -> Trouble | None:
    if date is None:
        return None
    ahead_s = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    if abs(ahead_s) < CLOCK_TOLERANCE_S:
        return None
    side = "ahead of" if ahead_s > 0 else "behind"
    return Trouble(
        f"this machine's clock is {abs(ahead_s):.0f} s {side} the server's, and requests that are more than 300 s off "
        "are refused; set it right (NTP); trying again",
        passing=True,
    )


def _certificate(error: ssl.SSLCertVerificationError, host: str, port: int, root_certificates: Path | None) -> str:
    code, certificate = error.verify_code, _shown(host, port)
    if code in (_WRONG_NAME, _WRONG_ADDRESS):
        return (
            f"the server's certificate is not made for {host}, but for {_names(certificate)}; use one of these in "
            "[server] address in client.toml, or ask the operator to make one for this name"
        )
    if code == _EXPIRED and certificate is not None and certificate.not_valid_after_utc < datetime.now(UTC):
        end = certificate.not_valid_after_utc
        return f"the server's certificate expired on {end:%Y-%m-%d}; ask the operator to renew it; trying again"
    if code == _EXPIRED:
        return f"the certificate of the CA, {root_certificates}, has expired; ask the operator for a new kit"
    if code == _NOT_YET:
        return "the server's certificate is not valid yet; check this machine's clock and the server's; trying again"
    return (
        f"the server's certificate was signed by another CA than {root_certificates} ({error.verify_message}): this is "
        "the wrong server, or ca.crt is of another federation; ask the operator for the right ca.crt; trying again"
    )


def _shown(host: str, port: int) -> x509.Certificate | None:
    """Return the certificate that the server shows, whoever signed it, to be spoken of alone."""
    try:
        text = ssl.get_server_certificate((host, port), timeout=PATIENCE_S)
        return x509.load_pem_x509_certificate(text.encode())
    except (OSError, ValueError):
        return None


def _names(certificate: x509.Certificate | None) -> str:
    if certificate is None:
        return "other names"
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "no name at all"
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return ", ".join([*names.get_values_for_type(x509.DNSName), *addresses])


def _other_language(address: str, root_certificates: Path | None, error: Exception) -> str:
    if root_certificates is None:
        return (
            f"server {address} does not speak plain HTTP ({error or type(error).__name__}); set insecure = false in "
            "[server] of client.toml; trying again"
        )
    return (
        f"server {address} does not speak TLS ({error or type(error).__name__}): something else listens there, or the "
        "server runs without TLS; trying again"
    )
