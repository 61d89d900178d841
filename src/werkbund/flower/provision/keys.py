"""The key pair that a plant is known by: elliptic curve P-384, in the files of OpenSSH, as Flower reads them.

The private key signs each request that a plant makes. It need never leave the plant: `keygen` makes it there.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from werkbund.core.errors import ConfigError
from werkbund.flower.provision.files import write_file

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


def new_key() -> PrivateKey:
    """Draw a private key on the curve P-384."""
    return ec.generate_private_key(ec.SECP384R1())


def ssh_private(key: PrivateKey) -> bytes:
    """Return a private key as `flower-supernode --auth-supernode-private-key` reads it: OpenSSH, without password."""
    none = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, none)


def ssh_public(key: PublicKey, name: str) -> bytes:
    """Return a public key as one line of OpenSSH, with a name as its comment."""
    return _line(key) + f" {name}\n".encode()


def pem_private(key: PrivateKey) -> bytes:
    """Return a private key as TLS servers read it: PKCS 8, without password."""
    none = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none)


def fingerprint(key: PublicKey) -> str:
    """Return what `ssh-keygen -l` shows of a key, to be compared over the telephone."""
    digest = hashlib.sha256(base64.b64decode(_line(key).split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def read_public_key(path: Path) -> PublicKey:
    """Read a plant's public key from a file of OpenSSH.

    Raises
    ------
    ConfigError
        If the file cannot be read, holds a private key, or a key that Flower does not take.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = "the plant makes one with `werkbund client keygen`"
        raise ConfigError(f"public key must be a readable file, got {path} ({error.strerror}); {remedy}") from error
    if b"PRIVATE KEY" in content:
        raise ConfigError(
            f"public key must be a .pub file, got {path}, which holds a private key; "
            "ask for the .pub file beside it, and never let a private key leave its plant"
        )
    try:
        key = serialization.load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"public key must be a line of OpenSSH, got {path}: {error}; {_MAKE}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigError(f"public key must be of an elliptic curve (P-384), got {path} of another kind; {_MAKE}")
    return key


_MAKE = "the plant makes the right one with `werkbund client keygen`"


def keygen(folder: Path, name: str = "client") -> str:
    """Make a plant's own key pair, `client.key` and `client.pub`, and return the fingerprint.

    Parameters
    ----------
    folder
        Where the two files go; it is made if need be.
    name
        Comment in the public key.

    Raises
    ------
    ConfigError
        If one of the files is there already: a key is never overwritten.
    """
    private, public = folder / "client.key", folder / "client.pub"
    for path in (private, public):
        if path.exists():
            raise ConfigError(f"--out must hold no key yet, got {folder} with {path.name}; choose another folder")
    key = new_key()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_file(private, ssh_private(key))
    write_file(public, ssh_public(key.public_key(), name))
    return fingerprint(key.public_key())


def _line(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
