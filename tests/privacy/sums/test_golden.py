"""The pieces of secure sums against golden numbers that were computed apart, and against other libraries."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from Crypto.Cipher import AES
from Crypto.Util import Counter
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.privacy.sums.plants import register, registered
from werkbund.core.errors import ClientError, ConfigError, FederationError
from werkbund.privacy.sums import Addend, Register, Thresholds, Words, usual_colluding
from werkbund.privacy.sums.primitives import (
    add_stream,
    agreed,
    commitment,
    derived,
    is_signed,
    joined,
    private_key,
    public_of,
    sealed,
    signed,
    stream_bytes,
    unsealed,
)
from werkbund.privacy.sums.sharing import PRIME, coefficients, combined, lagrange, share


def test_the_agreement_of_two_keys() -> None:
    one, other = private_key(bytes([1]) * 32), private_key(bytes([2]) * 32)
    common = "2ed76ab549b1e73c031eb49c9448f0798aea81b698279a0c3dc3e49fbfc4b953"
    assert agreed(one, public_of(other)).hex() == agreed(other, public_of(one)).hex() == common
    mask = derived(bytes.fromhex(common), "mask")
    assert mask.hex() == "ca5345fd676c16a2b30c0a48b20a9a8601fa4a286be8da3d459928ec65099e31"
    words = np.zeros(2, np.uint64)
    add_stream(mask, words)
    assert words.tolist() == [2525963654700152600, 9854170197269316983]


def test_a_public_key_of_small_order_is_refused() -> None:
    with pytest.raises(ClientError, match="of large order"):
        agreed(private_key(bytes([1]) * 32), bytes(32))


def test_the_stream_of_a_key_is_that_of_another_library() -> None:
    key = bytes(range(32))
    words = np.zeros(3 * 2**14 + 5, np.uint64)
    add_stream(key, words)
    assert [f"{word:x}" for word in words[:2].tolist()] == ["d09f492ab60090f2", "80772edd6a9af3a9"]
    other = AES.new(key, AES.MODE_CTR, counter=Counter.new(128, initial_value=0)).encrypt(bytes(words.nbytes))
    assert words.astype("<u8").tobytes() == other == stream_bytes(key, words.nbytes)
    add_stream(key, words, -1)
    assert not words.any()


def test_toy_masks_of_three_plants() -> None:
    pairs = {(1, 2): 12, (1, 3): 13, (2, 3): 23}
    numbers = {1: [5, 2**64 - 1], 2: [7, 2], 3: [1, 0]}
    masked = {}
    for plant, own in numbers.items():
        words = np.array(own, np.uint64)
        add_stream(bytes([100 + plant]) * 32, words)
        for pair, byte in pairs.items():
            if plant in pair:
                add_stream(bytes([byte]) * 32, words, 1 if plant == pair[0] else -1)
        masked[plant] = words
    assert masked[1].tolist() == [8626249268203457434, 8446053511214668116]
    assert masked[2].tolist() == [8652949926010826609, 219795170632881363]
    assert masked[3].tolist() == [1427099086512005555, 6441187463573639236]
    total = masked[1] + masked[2] + masked[3]
    for byte in (101, 102, 103):
        add_stream(bytes([byte]) * 32, total, -1)
    assert total.tolist() == [13, 1]
    without = masked[1] + masked[2]
    for byte in (101, 102, 13, 23):
        add_stream(bytes([byte]) * 32, without, -1)
    assert without.tolist() == [12, 1]


def test_golden_shares() -> None:
    assert [share([5, 7, 11], number) for number in (1, 2, 3)] == [23, 63, 125]
    assert combined([23, 63, 125], lagrange([1, 2, 3])) == 5
    assert combined([63, 125, 23], lagrange([2, 3, 1], 4)) == share([5, 7, 11], 4)
    assert PRIME == 2**256 + 297


@given(st.integers(0, 2**256 - 1), st.integers(1, 12), st.integers(0, 8), st.randoms(use_true_random=False))
def test_any_holders_in_enough_number_have_the_secret_and_fewer_have_any(
    secret: int, t: int, more: int, draw: object
) -> None:
    polynomial = coefficients(secret, t, hashlib.sha256(str((secret, t)).encode()).digest())
    numbers = list(range(1, t + more + 1))
    draw.shuffle(numbers)  # type: ignore[attr-defined]
    holders = numbers[:t]
    shares = [share(polynomial, number) for number in holders]
    assert combined(shares, lagrange(holders)) == secret
    if t > 1:  # what fewer hold fits every secret: with one more point anywhere it gives that one
        other = (secret + 1) % PRIME
        weights = lagrange(holders)
        missing = (other - combined(shares[:-1], weights[:-1])) * pow(weights[-1], -1, PRIME) % PRIME
        assert combined([*shares[:-1], missing], weights) == other


def test_holders_have_numbers_of_their_own() -> None:
    for numbers in ([1, 1], [0, 1], [PRIME, 2]):
        with pytest.raises(FederationError, match="numbers of their own"):
            lagrange(numbers)


def test_what_is_sealed_opens_under_its_key_and_context_alone() -> None:
    key, other = bytes(32), bytes([1]) * 32
    content = sealed(key, b"shares" * 11, b"for 2")
    assert len(content) == 82
    assert unsealed(key, content, b"for 2") == b"shares" * 11
    assert unsealed(other, content, b"for 2") is None
    assert unsealed(key, content, b"for 3") is None


def test_a_signature_is_of_one_use_and_one_key() -> None:
    public = register(3).keys
    signature = signed(registered(1), "offer", b"ab", 7)
    assert len(signature) == 96
    assert is_signed(public[0], signature, "offer", b"ab", 7)
    for key, use, parts in ((1, "offer", (b"ab", 7)), (0, "included", (b"ab", 7)), (0, "offer", (b"a", b"b", 7))):
        assert not is_signed(public[key], signature, use, *parts)
    assert not is_signed(public[0], bytes(96), "offer", b"ab", 7)


def test_parts_do_not_run_into_one_another() -> None:
    assert joined("ab", "c") != joined("a", "bc")
    assert joined(b"", "x") != joined("x", b"")
    assert commitment(bytes(32)) != commitment(bytes([1]) + bytes(31))


@pytest.mark.parametrize(
    ("n", "c", "t", "drops", "agreed", "not_agreed"),
    [
        (3, 1, 3, 0, 2, 2), (4, 1, 3, 1, 2, 2), (5, 0, 3, 2, 3, 2), (5, 1, 4, 1, 3, 3), (10, 1, 6, 4, 5, 2),
        (10, 3, 7, 3, 4, 2), (20, 0, 11, 9, 11, 4), (20, 6, 14, 6, 8, 4), (50, 0, 26, 24, 26, 4),
        (50, 16, 34, 16, 18, 4), (100, 0, 51, 49, 51, 4), (100, 19, 60, 40, 41, 2), (100, 33, 67, 33, 34, 2),
    ],
)  # fmt: skip
def test_how_many_a_sum_needs(n: int, c: int, t: int, drops: int, agreed: int, not_agreed: int) -> None:
    found = Thresholds.of(n, c)
    assert (found.threshold, found.least, n - found.threshold) == (t, t, drops)
    assert (found.honest(True), found.honest(False)) == (agreed, not_agreed)


def test_a_sum_of_three_is_over_three() -> None:
    found = Thresholds.of(3, 0)
    assert (found.threshold, found.least) == (2, 3)  # two open it, of three numbers


def test_a_cohort_of_some_among_a_hundred() -> None:
    found = Thresholds(100, 10, 2, 52, 8)
    assert (found.honest(True), found.honest(False)) == (6, 5)
    assert Thresholds.of(100, 2, 10) == Thresholds(100, 10, 2, 52, 7)


def test_both_secrets_of_one_plant_need_more_answers_than_there_are() -> None:
    for n in range(3, 101):
        for c in range(n - 1):
            found = Thresholds.of(n, c)
            assert 2 * (found.threshold - c) > n - c
            assert found.honest(True) >= 2
            assert found.honest(False) >= 2
            assert found.threshold <= n


def test_a_sum_of_some_members_is_over_two_honest_plants_whatever_the_server_says() -> None:
    every = (Thresholds.of(n, c, some) for n in range(3, 41) for c in range(n - 1) for some in range(3, n + 1))
    assert min(found.honest(False) for found in every if found.cohort >= found.least) == 2


def test_too_few_honest_plants_are_refused() -> None:
    for n, c in ((2, 0), (4, 3), (1, 0)):
        with pytest.raises(ConfigError, match=r"privacy\.colluding must leave two honest plants"):
            Thresholds.of(n, c)
    assert [usual_colluding(n) for n in (3, 4, 6, 10, 100)] == [0, 1, 1, 3, 33]


@pytest.mark.parametrize(("clients", "fraction"), [(10, 42), (100, 39), (1000, 35)])
def test_fraction_bits_of_weighted_updates(clients: int, fraction: int) -> None:
    words = Words((Addend("update", (1,), 8.0 * 10_000, False),), clients)
    assert words.fraction_bits(words.addends[0]) == fraction
    assert words.error("update", 1) == 2.0 ** -(fraction + 1) + 80_000 * 2.0**-53


def test_a_register_is_read_from_a_folder_of_keys_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        public = registered(number).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        (tmp_path / f"plant {number}.pub").write_bytes(public + b" a comment")
    assert Register.read(tmp_path) == register(3)
    assert Register.read(tmp_path).digest == register(3).digest != Register.read(tmp_path, 1).digest
    assert register(3).number("plant 2") == 2
    with pytest.raises(ConfigError, match="plant 9 must have a key among those of all plants"):
        register(3).number("plant 9")
    (tmp_path / "plant 4.pub").write_bytes(public)
    with pytest.raises(ConfigError, match="a key of its own"):
        Register.read(tmp_path)
    (tmp_path / "plant 4.pub").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"a line of OpenSSH, got .*plant 4\.pub"):
        Register.read(tmp_path)
    with pytest.raises(ConfigError, match="must hold the public keys of all plants"):
        Register.read(tmp_path / "none")
