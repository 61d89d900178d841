"""The secure sum is the plain sum over who is in it; or it ends and tells nothing."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.privacy.sums.plants import WORDS, Federation, plain, register
from werkbund.core.errors import ConfigError, FederationError
from werkbund.privacy.sums import Hub

STAGES = ("never", "keys", "offers", "submit", "late", "agree", "opening")


def _check(federation: Federation, drops: Mapping[int, str]) -> bool:
    """Lead a sum in which each plant drops out at its stage; say whether it came out, and check that it had to."""
    at = {stage: {number for number, when in drops.items() if when == stage} for stage in STAGES}
    found, agreed = federation.register, federation.register.strict
    members = {*found.numbers} - at["keys"]
    cohort = members - at["offers"]
    included = cohort - at["submit"] - at["late"]
    try:
        needed = found.thresholds(len(members), len(cohort))
    except ConfigError:
        with pytest.raises(ConfigError, match="must leave two honest plants"):
            federation.set_up(at["keys"], at["offers"])
        return False
    federation.set_up(at["keys"], at["offers"])
    silent = at["offers"] | at["agree"]
    opening, signing = members - silent - at["opening"], members - silent
    enough = len(included) >= needed.least and len(opening) >= needed.threshold
    if not enough or (agreed and len(signing) < needed.threshold):
        with pytest.raises(FederationError, match=r"needs \d+ (of \d+ )?plants"):
            federation.sum(cohort, at["submit"], at["late"], silent, silent | at["opening"])
        return False
    opened = federation.sum(cohort, at["submit"], at["late"], silent, silent | at["opening"])
    _check_sum(federation, opened.sums, opened.included)
    assert opened.included == tuple(sorted(included))
    return True


def _check_sum(federation: Federation, sums: Mapping[str, object], included: tuple[int, ...]) -> None:
    expected = plain(included, federation.asked)
    np.testing.assert_array_equal(sums["count"], expected["count"])
    error = np.abs(sums["update"] - expected["update"]).max()
    assert error <= WORDS.error("update", len(included)) + 1e-12 < 1e-5


def test_two_of_four_drop_out_at_whatever_stages() -> None:
    stages = [stage for stage in STAGES if stage != "agree"]
    came_out = [_check(Federation(register(4, 0)), {1: one, 3: other}) for one, other in product(stages, repeat=2)]
    assert 5 < sum(came_out) < len(came_out) == 36


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_dropouts_at_any_stage_leave_the_sum_of_the_others(data: st.DataObject) -> None:
    plants = data.draw(st.integers(3, 9))
    colluding, strict = data.draw(st.integers(0, plants - 2)), data.draw(st.booleans())
    most = plants - register(plants, colluding).thresholds(plants).threshold
    dropping = data.draw(st.lists(st.integers(1, plants), max_size=most + 1, unique=True))
    drops = {number: data.draw(st.sampled_from(STAGES)) for number in dropping}
    _check(Federation(register(plants, colluding, strict)), drops)


@pytest.mark.parametrize("plants", [25, 100])
def test_as_many_drop_out_as_may(plants: int) -> None:
    federation = Federation(register(plants))
    federation.hub = Hub(federation.register, "a run", ahead=1)
    rng = np.random.default_rng(plants)
    needed = federation.register.thresholds(plants)
    masking = rng.permutation(plants)[: plants - needed.least] + 1
    opening = rng.permutation(plants)[: plants - needed.threshold] + 1
    federation.set_up()
    opened = federation.sum(submit=masking[::2].tolist(), late=masking[1::2].tolist(), opening=opening.tolist())
    assert len(opened.included) == needed.least
    _check_sum(federation, opened.sums, opened.included)


def test_after_a_sum_that_was_lost_the_next_session_gives_sums() -> None:
    federation = Federation(register(5))
    federation.set_up()
    with pytest.raises(FederationError, match="needs 4 of 5 plants to be opened, and 3 have given shares"):
        federation.sum(opening={1, 2})
    assert federation.hub.members == ()
    federation.set_up(keys={3})
    opened = federation.sum()
    assert opened.included == (1, 2, 4, 5)
    _check_sum(federation, opened.sums, opened.included)


def test_a_sum_over_too_few_leaves_the_session_as_it_is() -> None:
    federation = Federation(register(5))
    federation.set_up()
    federation.sum()
    with pytest.raises(FederationError, match="sum 2 needs 4 plants of 5, and 3 have answered"):
        federation.sum(submit={1, 2})
    opened = federation.sum()
    assert opened.included == (1, 2, 3, 4, 5)
    _check_sum(federation, opened.sums, opened.included)


def test_a_plant_that_misses_openings_has_keys_for_the_next_sums_and_then_asks_for_new_ones() -> None:
    federation = Federation(register(6))
    federation.set_up()
    for _ in range(3):
        assert 1 in federation.sum(opening={1}).included
    federation.sum(submit={1}, opening={1})
    assert federation.hub.ready == (2, 3, 4, 5, 6)
    federation.hub.take_offers(1, federation.plant(1).offers(federation.hub.ask_offers()))
    opened = federation.sum()
    assert opened.included == (1, 2, 3, 4, 5, 6)
    _check_sum(federation, opened.sums, opened.included)


def test_who_missed_openings_is_shown_what_the_others_signed_of_the_last_one_that_it_knows() -> None:
    federation = Federation(register(6))
    federation.set_up()
    federation.sum()
    for _ in range(2):
        assert 1 in federation.sum(opening={1}).included
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    assert sorted({*message["witnessed"].tolist()}) == [1, 2, 3]  # nobody knows which of these plant 1 has opened
    federation.set_up()
    federation.sum()
    assert {*federation.hub.ask_sum(federation.hub.ready, WORDS)["witnessed"].tolist()} == {1}


def test_a_part_of_the_members_is_summed_and_the_others_help_to_open() -> None:
    federation = Federation(register(12, colluding=2))
    federation.set_up()
    opened = federation.sum(cohort=(1, 2, 3, 5, 8, 9, 11), submit={9}, opening={5, 8, 12})
    assert opened.included == (1, 2, 3, 5, 8, 11)
    _check_sum(federation, opened.sums, opened.included)


def test_whole_numbers_wrap_around_and_are_added_to_the_bit() -> None:
    federation = Federation(register(3))
    federation.set_up()
    extreme = {1: 2**63 - 1, 2: 2**63 - 1, 3: -5}
    update = np.zeros(3)
    opened = federation.sum(numbers=lambda number, _: {"count": np.array([extreme[number], number]), "update": update})
    assert opened.sums["count"].tolist() == [-7, 6]
