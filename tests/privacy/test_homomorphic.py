"""Ciphertexts add up to the sum, which a plant's key opens and the server's does not."""

from __future__ import annotations

import numpy as np
import pytest

from werkbund.core.errors import FederationError
from werkbund.privacy.homomorphic import SLOTS, SharedKey, added

tenseal = pytest.importorskip("tenseal")


def test_a_sum_of_ciphertexts_is_the_sum() -> None:
    key = SharedKey()
    numbers = np.random.default_rng(0).normal(0, 1, (5, SLOTS + 10))
    total = added(key.for_server(), [key.encrypted(row) for row in numbers])
    assert len(total) == 2
    found = SharedKey(key.to_bytes()).opened(total)
    assert np.abs(found - numbers.sum(axis=0)).max() < 2e-6
    np.testing.assert_array_equal(found * 2**20, np.rint(found * 2**20))


def test_the_server_cannot_open_it() -> None:
    key = SharedKey()
    context = tenseal.context_from(key.for_server())
    assert not context.has_secret_key()
    with pytest.raises(ValueError, match="secret"):
        tenseal.ckks_vector_from(context, key.encrypted(np.ones(3))[0]).decrypt()


def test_plants_send_as_many_ciphertexts() -> None:
    key = SharedKey()
    with pytest.raises(FederationError, match="as many ciphertexts"):
        added(key.for_server(), [key.encrypted(np.ones(3)), []])
