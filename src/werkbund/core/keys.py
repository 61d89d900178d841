"""The key that a plant is known by: elliptic curve P-384, in the files of OpenSSH, as Flower reads them.

It signs each request that a plant makes, and whatever else the plant stands up for; each use has a label of its own,
so that no signature stands for anything else.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from werkbund.core.errors import ConfigError

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey

_SIGNED_WITH = ec.ECDSA(hashes.SHA384())
_MAKE = "the plant makes the right one with `werkbund client keygen`"


def new_key() -> PrivateKey:
    """Draw a private key on the curve P-384."""
    return ec.generate_private_key(ec.SECP384R1())


def sign(key: PrivateKey, label: str, content: bytes) -> bytes:
    """Return a signature, DER of ECDSA with SHA-384, over a label, a zero byte and a content."""
    return key.sign(_labelled(label, content), _SIGNED_WITH)


def is_signed(key: PublicKey, label: str, content: bytes, signature: bytes) -> bool:
    """Say whether a signature is that of a key's owner over a label and a content; see `sign`."""
    try:
        key.verify(signature, _labelled(label, content), _SIGNED_WITH)
    except InvalidSignature:
        return False
    return True


def ssh_private(key: PrivateKey) -> bytes:
    """Return a private key as `flower-supernode --auth-supernode-private-key` reads it: OpenSSH, without password."""
    none = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, none)


def ssh_public(key: PublicKey, name: str) -> bytes:
    """Return a public key as one line of OpenSSH, with a name as its comment."""
    return _line(key) + f" {name}\n".encode()


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


def read_private_key(path: Path) -> PrivateKey:
    """Read a plant's private key.

    Raises
    ------
    ConfigError
        If it is missing, open to others, or no key of an elliptic curve in the format of OpenSSH.
    """
    check_private(path, "make one with `werkbund client keygen`, or copy it from the kit again")
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("a key of another kind")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{path} must be a private key of an elliptic curve in the format of OpenSSH, without password: {error}; "
            "make one with `werkbund client keygen`"
        ) from error
    return key


def check_private(path: Path, remedy: str) -> None:
    """Check that a file is there and that its owner alone can read it.

    Raises
    ------
    ConfigError
        If it is missing, or others may read it; `remedy` ends the message about a missing one.
    """
    if not path.is_file():
        raise ConfigError(f"{path} must be there; {remedy}")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ConfigError(f"{path} must be readable by its owner alone, got mode {mode:04o}; run `chmod 600 {path}`")


def _labelled(label: str, content: bytes) -> bytes:
    return label.encode() + b"\0" + content


def _line(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
