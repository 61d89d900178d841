"""A plant's own key pair. Its private key need never leave the plant: `keygen` makes it there."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization

from werkbund.core.errors import ConfigError
from werkbund.core.keys import PrivateKey, fingerprint, new_key, ssh_private, ssh_public
from werkbund.flower.provision.files import write_file


def pem_private(key: PrivateKey) -> bytes:
    """Return a private key as TLS servers read it: PKCS 8, without password."""
    none = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none)


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
