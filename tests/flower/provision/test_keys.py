"""Keys, as Flower and OpenSSH read them."""

from __future__ import annotations

import shutil
import stat
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)
from flwr.cli.supernode.register import try_load_public_key
from flwr.supercore.primitives.asymmetric import (
    bytes_to_public_key,
    public_key_to_bytes,
    sign_message,
    uses_nist_ec_curve,
    verify_signature,
)
from flwr.supernode.cli.flower_supernode import _try_setup_client_authentication

from werkbund.core.errors import ConfigError
from werkbund.core.keys import fingerprint, new_key, read_public_key, ssh_private, ssh_public
from werkbund.flower.provision import keygen


def test_a_supernode_reads_the_private_key_and_a_superlink_the_public_one(tmp_path: Path) -> None:
    keygen(tmp_path)
    private, public = _try_setup_client_authentication(
        Namespace(auth_supernode_private_key=str(tmp_path / "client.key"), auth_supernode_public_key=None)
    )
    registered = bytes_to_public_key(try_load_public_key(tmp_path / "client.pub"))
    assert uses_nist_ec_curve(registered)
    assert verify_signature(registered, b"here I am", sign_message(private, b"here I am"))
    assert public_key_to_bytes(public) == public_key_to_bytes(read_public_key(tmp_path / "client.pub"))


def test_the_private_key_is_openssh_on_p_384(tmp_path: Path) -> None:
    keygen(tmp_path)
    key = load_ssh_private_key((tmp_path / "client.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP384R1)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_the_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    shown = keygen(tmp_path, "plant-a")
    for name in ("client.key", "client.pub"):
        listed = subprocess.run(["ssh-keygen", "-lf", tmp_path / name], capture_output=True, text=True, check=True)
        assert listed.stdout.split()[:2] == ["384", shown]


def test_keygen_hides_the_private_key_and_names_the_public_one(tmp_path: Path) -> None:
    keygen(tmp_path / "new" / "folder", "plant-a")
    private, public = (tmp_path / "new" / "folder" / name for name in ("client.key", "client.pub"))
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert public.read_text().startswith("ecdsa-sha2-nistp384 ")
    assert public.read_text().endswith(" plant-a\n")


@pytest.mark.parametrize("name", ["client.key", "client.pub"])
def test_keygen_never_writes_over_a_key(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match=f"must hold no key yet.*{name}"):
        keygen(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_public_key_is_read_back(tmp_path: Path) -> None:
    key = new_key().public_key()
    (tmp_path / "plant.pub").write_bytes(ssh_public(key, "plant-a"))
    assert fingerprint(read_public_key(tmp_path / "plant.pub")) == fingerprint(key)


def _ed25519() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def _pem_private() -> bytes:
    return new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "must be a readable file"),
        (b"", "must be a line of OpenSSH"),
        (b"ecdsa-sha2-nistp384 AAAA plant-a\n", "must be a line of OpenSSH"),
        (_ed25519(), "must be of an elliptic curve"),
        (ssh_private(new_key()), "holds a private key"),
        (_pem_private(), "holds a private key"),
    ],
    ids=["missing", "empty", "broken", "ed25519", "private", "private PEM"],
)
def test_a_file_that_is_no_public_key_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plant.pub"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_public_key(path)
