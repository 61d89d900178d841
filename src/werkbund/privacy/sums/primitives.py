"""The few cryptographic pieces of secure sums, each taken from the library `cryptography`.

Everything that is hashed, signed or derived from begins with a label that says what it is for, and each part is
preceded by its length, so that no two meanings share their bytes.

References
----------
RFC 7748 (X25519), RFC 5869 (HKDF), NIST SP 800-38A (AES in counter mode), RFC 8439 (ChaCha20-Poly1305), FIPS 186-5
(ECDSA on P-384).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from werkbund.core import keys
from werkbund.core.arrays import UInt64Array
from werkbund.core.errors import ClientError

KEY_BYTES = 32
"""Length of keys of X25519, of seeds of masks, and of what is derived."""

SIGNATURE_BYTES = 96
"""Length of a signature: two numbers of 48 bytes, so that all are as long."""

_HALF = SIGNATURE_BYTES // 2
_PIECE = 2**14  # words that a processor's nearest memory holds
_NONCE = bytes(12)  # each key seals one message


def joined(*parts: bytes | str | int) -> bytes:
    """Return parts in one row of bytes, each preceded by its length in four bytes; whole numbers as eight bytes.

    Examples
    --------
    >>> joined("ab", 1).hex()
    '000000026162000000080000000000000001'
    """
    raw = [part.to_bytes(8, "big") if isinstance(part, int) else _bytes(part) for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in raw)


def digest(use: str, *parts: bytes | str | int) -> bytes:
    """Return the SHA-256 of parts for one use: 32 bytes."""
    return hashlib.sha256(_label(use).encode() + joined(*parts)).digest()


def private_key(content: bytes) -> X25519PrivateKey:
    """Return the private key of X25519 that 32 bytes stand for."""
    return X25519PrivateKey.from_private_bytes(content)


def public_of(private: X25519PrivateKey) -> bytes:
    """Return the public key of a private one: 32 bytes."""
    return private.public_key().public_bytes_raw()


def agreed(private: X25519PrivateKey, public: bytes) -> bytes:
    """Return the secret that two parties share, of one's private and the other's public key: 32 bytes.

    Raises
    ------
    ClientError
        If the public key is one of the few with which every secret is zero.
    """
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise ClientError(
            f"a public key must be a point of X25519 of large order, got {public.hex()}; its plant must make a new one"
        ) from error


def derived(secret: bytes, use: str, *context: bytes | str | int, length: int = KEY_BYTES) -> bytes:
    """Derive a key for one use and context from a secret, by HKDF with SHA-256 and no salt.

    Parameters
    ----------
    secret
        Of at least 32 bytes.
    use
        What the key is for.
    context
        What it is bound to.
    length
        Of the key, in bytes.
    """
    return HKDF(hashes.SHA256(), length, None, _label(use).encode() + joined(*context)).derive(secret)


def stream_bytes(key: bytes, length: int) -> bytes:
    """Return so many bytes of the stream of a key: AES-256 in counter mode from zero. A key has one stream."""
    return _stream(key).update(bytes(length))


def add_stream(key: bytes, words: UInt64Array, sign: int = 1) -> None:
    """Add the stream of a key to words, or take it off, modulo 2^64, in place.

    Parameters
    ----------
    key
        32 bytes; it is used for this one stream.
    words
        (words,), changed.
    sign
        1 to add, -1 to take off.
    """
    stream, zeros, piece = _stream(key), memoryview(bytes(8 * _PIECE)), bytearray(8 * _PIECE)
    drawn = np.frombuffer(piece, "<u8")
    for begin in range(0, len(words), _PIECE):
        part = words[begin : begin + _PIECE]
        stream.update_into(zeros[: 8 * len(part)], memoryview(piece)[: 8 * len(part)])
        (np.add if sign > 0 else np.subtract)(part, drawn[: len(part)], out=part)


def sealed(key: bytes, message: bytes, context: bytes) -> bytes:
    """Encrypt and authenticate the one message of a key: sixteen bytes longer than the message."""
    return ChaCha20Poly1305(key).encrypt(_NONCE, message, context)


def unsealed(key: bytes, message: bytes, context: bytes) -> bytes | None:
    """Return what was sealed under this key and context; None if this was not."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, message, context)
    except InvalidTag:
        return None


def commitment(seed: bytes) -> bytes:
    """Return what binds a plant to the seed of its own mask before anybody knows it: 32 bytes."""
    return hashlib.sha256(seed + _label("commitment").encode()).digest()


def signed(key: ec.EllipticCurvePrivateKey, use: str, *parts: bytes | str | int) -> bytes:
    """Sign parts for one use with a registered key: ECDSA with SHA-384, both numbers in 48 bytes each."""
    first, second = decode_dss_signature(keys.sign(key, _label(use), joined(*parts)))
    return first.to_bytes(_HALF, "big") + second.to_bytes(_HALF, "big")


def is_signed(public: bytes, signature: bytes, use: str, *parts: bytes | str | int) -> bool:
    """Say whether the owner of a registered key signed parts for one use.

    Parameters
    ----------
    public
        The key in DER.
    signature
        96 bytes.
    use, parts
        What was to be signed.
    """
    return _is_signature(public, signature, _label(use), joined(*parts))


@lru_cache(maxsize=4096)
def _is_signature(public: bytes, signature: bytes, label: str, content: bytes) -> bool:
    """Verify; in one process a hundred plants look at the same hundred signatures."""
    first, second = (int.from_bytes(half, "big") for half in (signature[:_HALF], signature[_HALF:]))
    return keys.is_signed(_registered(public), label, content, encode_dss_signature(first, second))


@lru_cache(maxsize=1024)
def _registered(public: bytes) -> ec.EllipticCurvePublicKey:
    key = serialization.load_der_public_key(public)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ClientError("a registered key must be of an elliptic curve (P-384); make one with werkbund client keygen")
    return key


def _stream(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()


def _label(use: str) -> str:
    return f"werkbund/{use}/1"


def _bytes(part: bytes | str) -> bytes:
    return part.encode() if isinstance(part, str) else part
