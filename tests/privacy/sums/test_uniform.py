"""What the server gets from one plant is even noise over many sums; what is planted to be less is found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

from tests.privacy.sums.plants import RUN, Federation, question, register, registered
from tests.privacy.sums.uniform import SUSPICIOUS, suspicions
from werkbund.core.arrays import UInt8Array, UInt64Array
from werkbund.privacy.sums import Addend, Participant, Words, participant
from werkbund.privacy.sums.primitives import stream_bytes

SUMS, NUMBERS = 40, 500
WORDS = Words((Addend("rows", (NUMBERS,), None, True), Addend("update", (NUMBERS,), 10.0, False, 5)), clients=3)
SAME = {"rows": np.arange(NUMBERS), "update": np.linspace(-1, 1, NUMBERS)}
"""The numbers of each plant in each sum: whatever differs is the mask."""

Stream = Callable[[bytes, UInt64Array, int], None]


class Drawing(Federation):
    """Plants that draw as a test says."""

    draw: Callable[[int], bytes]

    def plant(self, number: int) -> Participant:
        memory = self.memories.setdefault(number, {})
        return Participant(self.register, number, registered(number), RUN, memory, self.draw)


def _masked(federation: Federation, sums: int = SUMS) -> UInt8Array:
    """Return what plant 2 sent in many sums: (sums, bytes), without the two words that show whether masks matched."""
    federation.set_up()
    left = []
    for turn in range(sums):
        federation.sum(numbers=lambda *_: SAME, asked=question(turn, len(federation.memories)))
        left.append(federation.masked[2])
    return np.stack(left)


def _found(looks: dict[str, float]) -> set[str]:
    return {look for look, p in looks.items() if p < SUSPICIOUS}


def test_what_leaves_a_plant_is_even_noise_over_many_sums() -> None:
    masked = _masked(Federation(register(3), WORDS))
    assert masked.shape == (SUMS, 13 * NUMBERS + 16)
    assert not _found(suspicions(masked))
    for place in (slice(0, 8 * NUMBERS), slice(8 * NUMBERS, 13 * NUMBERS), slice(-16, None)):  # each array, each alone
        assert not _found(suspicions(masked[:, place]))
    assert not _found(suspicions(masked.T.copy()))  # and from sum to sum in one place


def test_bare_words_are_found() -> None:
    bare = np.tile(WORDS.packed(WORDS.of(SAME)), (SUMS, 1))
    assert _found(suspicions(bare)) == {"bytes", "runs", "differences", "repeats"}


def _same_again(key: bytes, words: UInt64Array, sign: int = 1) -> None:
    drawn = np.frombuffer(stream_bytes(bytes([key[0] & 1]) * 32, words.nbytes), "<u8")
    (np.add if sign > 0 else np.subtract)(words, drawn, out=words)


def _half_a_word(key: bytes, words: UInt64Array, sign: int = 1) -> None:
    drawn = np.frombuffer(stream_bytes(key, words.nbytes), "<u8") & np.uint64(0xFFFFFFFF)
    (np.add if sign > 0 else np.subtract)(words, drawn, out=words)


@pytest.mark.parametrize(("stream", "look"), [(_same_again, "differences"), (_half_a_word, "bytes")])
def test_a_weak_mask_is_found(stream: Stream, look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participant, "add_stream", stream)
    monkeypatch.setattr("werkbund.privacy.sums.opening.add_stream", stream)
    assert look in _found(suspicions(_masked(Federation(register(3), WORDS), 8)))


def test_a_plant_that_draws_the_same_again_in_each_session_is_found() -> None:
    federation = Drawing(register(3), WORDS)
    federation.draw = bytes
    masked = np.concatenate([_masked(federation, 1), _masked(federation, 1)])
    assert {"differences", "repeats"} <= _found(suspicions(masked))
    federation.draw = lambda length: np.random.default_rng(len(drawn := [*range(length)])).bytes(len(drawn))
    masked = np.concatenate([_masked(federation, 1), _masked(federation, 1)])
    assert {"differences", "repeats"} <= _found(suspicions(masked))


def test_keys_that_are_cut_to_32_bits_repeat_and_those_of_256_do_not() -> None:
    """As Flower's own masks do: the 32 bytes of a key are folded to a seed of 32 bits for NumPy's MT19937."""
    number = 71_000  # the first of these keys whose seeds are the same are among so many
    keys = [hashlib.sha256(bytes([count & 255, count >> 8 & 255, count >> 16])).digest() for count in range(number)]
    ours = np.frombuffer(b"".join(stream_bytes(key, 8) for key in keys), np.uint8).reshape(number, 8)
    assert not _found({"repeats": suspicions(ours)["repeats"]})
    seeds = np.bitwise_xor.reduce(np.frombuffer(b"".join(keys), np.uint32).reshape(number, 8), axis=1)
    _, first, counted = np.unique(seeds, return_index=True, return_counts=True)
    twice = first[counted > 1][:4].tolist()
    again = [int(np.flatnonzero(seeds == seeds[place])[1]) for place in twice]
    weak = [np.random.RandomState(seeds[place]).bytes(8) for place in (*twice, *again, *range(100))]
    rows = np.frombuffer(b"".join(weak), np.uint8).reshape(-1, 8)
    assert twice
    assert "repeats" in _found(suspicions(rows))
