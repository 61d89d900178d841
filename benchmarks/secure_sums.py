"""What secure sums cost: words under masks, Flower's own masks, and homomorphic encryption, side by side in one run.

python -m benchmarks.secure_sums
python -m benchmarks.secure_sums --plants 10 100 --parameters 1000000

Ours is led in full, all plants and the server in one process: setup, and one sum in which nobody drops out. Flower's
are the functions of its own SecAgg+ (flwr 1.41) for one plant and for the server, every plant a neighbour; what is the
same for each secret is timed for a few. CKKS is one plant's work, and one addition for the server. The update of a
plant is 32-bit numbers. Seconds are those of one processor. Bytes are what a plant sends for one sum, all messages
together; their ratio is to four a parameter.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt, generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import factor_combine, parameters_addition, parameters_mod
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from rich.console import Console
from rich.table import Table

from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array
from werkbund.privacy.homomorphic import SharedKey, added
from werkbund.privacy.sums import UPDATE_BYTES, Addend, Hub, Participant, Register, Words

LARGEST_UPDATE, MOST_ROWS = 8.0, 10_000
"""A coordinate of an update, and rows of a plant, at the most."""

_FEW = 3


@dataclass(frozen=True)
class Cost:
    """Hold what a way of adding takes: seconds of one plant and of the server, bytes up, and the error of the mean."""

    way: str
    setup_s: float
    plant_s: float
    server_s: float
    sent: float
    error: float
    trips: str


def main() -> None:
    """Add updates in every way, for some numbers of plants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--parameters", type=int, default=1_000_000)
    given = parser.parse_args()
    for plants in given.plants:
        _shown(plants, given.parameters)


def costs(plants: int, parameters: int) -> list[Cost]:
    """Return what each way of adding takes that can be run here."""
    updates = _updates(plants, parameters)
    rows = np.random.default_rng(1).integers(MOST_ROWS // 2, MOST_ROWS, plants)
    found = [
        _ours(f"masks, words of {UPDATE_BYTES} bytes", updates, rows, UPDATE_BYTES),
        _ours("masks, words of 8 bytes", updates, rows, 8),
        _flower(updates, rows),
    ]
    return [*found, _encrypted(updates, rows)] if find_spec("tenseal") is not None else found


def _shown(plants: int, parameters: int) -> None:
    title = f"{plants} plants, {parameters:,} parameters: a sum"
    table = Table(box=None, title=title, title_justify="left")
    heads = ("way", "setup, a plant [s]", "a plant [s]", "the server [s]", "all in one process [s]")
    for head in (*heads, "bytes up", "to 32 bit", "error of the mean", "round trips"):
        table.add_column(head, justify="left" if head == "way" else "right")
    for cost in costs(plants, parameters):
        together = plants * (cost.setup_s + cost.plant_s) + cost.server_s
        figures = (f"{cost.setup_s:.3f}", f"{cost.plant_s:.2f}", f"{cost.server_s:.2f}", f"{together:.1f}")
        ratio = f"{cost.sent / (4 * parameters):.2f}"
        table.add_row(cost.way, *figures, f"{cost.sent:,.0f}", ratio, f"{cost.error:.1e}", cost.trips)
    Console(width=150).print(table)


def _updates(plants: int, parameters: int) -> Callable[[int], Float32Array]:
    """Return what draws a plant's update when it is wanted, so that not all lie in memory."""
    return lambda plant: np.random.default_rng([0, plant]).normal(0, 0.01, parameters).astype(np.float32)


def _mean(updates: Callable[[int], Float32Array], rows: Int64Array) -> Float64Array:
    total = sum(count * updates(plant).astype(np.float64) for plant, count in enumerate(rows))
    return np.asarray(total / rows.sum(), np.float64)


def _timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


class _Plants:
    """Lead plants through the stages of secure sums, and count the seconds and bytes of each side."""

    def __init__(self, plants: int, words: Words) -> None:
        keys = {number: ec.generate_private_key(ec.SECP384R1()) for number in range(1, plants + 1)}
        public = [
            key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys.values()
        ]
        register = Register(tuple(map(str, keys)), tuple(public))
        self.members = {number: Participant(register, number, key, "run", {}) for number, key in keys.items()}
        self.hub, self.words = Hub(register, "run", ahead=1), words
        self.plant_s, self.server_s, self.sent = 0.0, 0.0, 0

    def stage(self, answer: Callable[[int, Participant], Arrays], take: Callable[[int, Arrays], None]) -> None:
        """Let each plant answer, and the server take it."""
        for number, member in self.members.items():
            start = time.process_time()
            message = answer(number, member)
            self.plant_s += time.process_time() - start
            self.sent += sum(array.nbytes for array in message.values())
            self.server_s += _timed(lambda number=number, message=message: take(number, message))  # type: ignore[misc]

    def set_up(self) -> float:
        """Exchange keys; return the seconds of both sides, a plant."""
        self.stage(lambda _, member: member.keys(), self.hub.take_keys)
        message = self.hub.ask_offers()
        self.stage(lambda _, member: member.offers(message), self.hub.take_offers)
        took = (self.plant_s + self.server_s) / len(self.members)
        self.plant_s, self.server_s, self.sent = 0.0, 0.0, 0
        return took

    def sum(self, weighted: Callable[[int], Arrays]) -> Float64Array:
        """Return the mean update."""
        message = self.hub.ask_sum(self.hub.ready, self.words)
        arrays: dict[int, Arrays] = {}

        def masked(number: int, member: Participant) -> Arrays:
            return member.submit(message, self.words, arrays[number], bytes(32))

        for number, member in self.members.items():
            arrays[number] = weighted(number - 1)  # not timed: the update is there anyway
            kept, self.members = self.members, {number: member}
            self.stage(masked, self.hub.take_words)
            self.members = kept
            del arrays[number]
        shared, own = self.hub.ask_opening()
        self.stage(lambda number, member: member.open({**shared, **own[number]}), self.hub.take_shares)
        start = time.process_time()
        sums = self.hub.opened().sums
        self.server_s += time.process_time() - start
        return np.asarray(sums["update"] / sums["rows"], np.float64)


def _ours(way: str, updates: Callable[[int], Float32Array], rows: Int64Array, width: int) -> Cost:
    size, plants = len(updates(0)), len(rows)
    addends = (
        Addend("update", (size,), LARGEST_UPDATE * MOST_ROWS, False, width),
        Addend("rows", (), MOST_ROWS, True, 4),
    )
    led = _Plants(plants, Words(addends, plants))
    setup_s = led.set_up()
    mean = led.sum(lambda plant: {"update": np.float64(rows[plant]) * updates(plant), "rows": np.array(rows[plant])})
    error = float(np.abs(mean - _mean(updates, rows)).max())
    return Cost(way, setup_s, led.plant_s / plants, led.server_s, led.sent / plants, error, "2")


def _flower(updates: Callable[[int], Float32Array], rows: Int64Array) -> Cost:
    """Return what SecAgg+ takes with its defaults, but for the most rows, every plant a neighbour of every other."""
    plants, size, levels, modulus = len(rows), len(updates(0)), 2**22, 2**32
    threshold = 2 * plants // 3 + 1
    private, public = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1()).public_key()
    shared = generate_shared_key(private, public)
    shares = create_shares(shared[:32], threshold, plants)
    a_secret = _timed(lambda: create_shares(os.urandom(32), threshold, plants))
    agreeing = _timed(lambda: [generate_shared_key(private, public) for _ in range(_FEW)]) / _FEW
    sealing = _timed(lambda: [decrypt(shared, encrypt(shared, bytes(150))) for _ in range(_FEW)]) / _FEW

    def masked() -> object:
        ratio = round(rows[0] / MOST_ROWS * levels)
        words = factor_combine(ratio, quantize([updates(0) * ratio / levels], LARGEST_UPDATE, levels))
        for _ in range(plants):
            words = parameters_addition(words, pseudo_rand_gen(os.urandom(32), modulus, [(1,), (size,)]))
        return parameters_mod(words, modulus)

    plant_s = _timed(masked) + (plants - 1) * (agreeing + sealing)
    opening = _timed(lambda: [combine_shares(shares[:threshold]) for _ in range(_FEW)]) / _FEW
    unmasking = _timed(lambda: pseudo_rand_gen(os.urandom(32), modulus, [(1,), (size,)]))
    sent = 8 * (size + 1) + plants * (2 * len(shares[0]) + 100)
    setup_s = 2 * a_secret + (plants - 1) * agreeing
    return Cost(
        "Flower SecAgg+", setup_s, plant_s, plants * (opening + unmasking), sent, _flowers_error(updates, rows), "4"
    )


def _flowers_error(updates: Callable[[int], Float32Array], rows: Int64Array) -> float:
    """Return the error of its quantisation, which masks do not change."""
    levels, ratios = 2**22, [round(count / MOST_ROWS * 2**22) for count in rows]
    total = sum(
        quantize([updates(plant) * ratio / levels], LARGEST_UPDATE, levels)[0].astype(np.int64)
        for plant, ratio in enumerate(ratios)
    )
    summed = dequantize([np.asarray(total)], LARGEST_UPDATE, levels)[0] - (len(rows) - 1) * LARGEST_UPDATE
    return float(np.abs(summed / (sum(ratios) / levels) - _mean(updates, rows)).max())


def _encrypted(updates: Callable[[int], Float32Array], rows: Int64Array) -> Cost:
    """Return what CKKS takes: a plant encrypts, the server adds, and a plant takes the sum out."""
    key = SharedKey()
    weighted = [np.float64(rows[plant] / MOST_ROWS) * updates(plant).astype(np.float64) for plant in range(2)]
    start = time.process_time()
    first = key.encrypted(weighted[0])
    plant_s = time.process_time() - start
    second, public = key.encrypted(weighted[1]), key.for_server()
    start = time.process_time()
    total = added(public, [first, second])
    adding = (time.process_time() - start) / 2
    start = time.process_time()
    opened = key.opened(total)
    opening = time.process_time() - start
    error = float(np.abs(opened - weighted[0] - weighted[1]).max() * MOST_ROWS / rows[:2].sum())
    sent = sum(map(len, first))
    return Cost("CKKS (TenSEAL), one key", 0.0, plant_s, len(rows) * adding + opening, sent, error, "2")


if __name__ == "__main__":
    main()
