"""A plant that lies is named by the hub, and does no harm while enough others tell the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.privacy.sums.plants import WORDS, Federation, numbers_of, plain, question, register, registered
from werkbund.core.arrays import AnyArray, Arrays
from werkbund.core.errors import ClientError, ConfigError, FederationError
from werkbund.privacy.sums import Hub, Opened
from werkbund.privacy.sums.messages import NOTHING
from werkbund.privacy.sums.primitives import signed

Answer = dict[str, AnyArray]


def _set_up(plants: int = 7, colluding: int = 1) -> Federation:
    federation = Federation(register(plants, colluding))
    federation.set_up()
    return federation


def _masked(federation: Federation, spoilt: Callable[[int, Answer], Answer] = lambda number, answer: answer) -> None:
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    turn = int(message["turn"])
    for number in message["cohort"].tolist():
        answer = federation.plant(number).submit(message, WORDS, numbers_of(number, turn), question(turn))
        federation.hub.take_words(number, spoilt(number, answer))


def _opened(federation: Federation, spoilt: Callable[[int, Answer], Answer]) -> Opened:
    """Open the sum under way with answers that a test has spoilt."""
    shared, own = federation.hub.ask_opening()
    for number in federation.hub.members:
        answer = federation.plant(number).open({**shared, **own[number]})
        federation.hub.take_shares(number, spoilt(number, answer))
    return federation.hub.opened()


def _with_wrong_shares(*liars: int) -> Callable[[int, Answer], Answer]:
    def spoilt(number: int, answer: Answer) -> Answer:
        if number in liars:
            answer["shares"][:, 1:] = np.random.default_rng(number).integers(0, 256, (len(answer["shares"]), 32))
        return answer

    return spoilt


def _check(opened: Opened, plants: int) -> None:
    expected = plain(range(1, plants + 1), 1)
    np.testing.assert_array_equal(opened.sums["count"], expected["count"])
    np.testing.assert_allclose(opened.sums["update"], expected["update"], rtol=0, atol=WORDS.error("update", plants))


@pytest.mark.parametrize("liars", [(1,), (7,), (2, 5)])
def test_wrong_shares_are_found_and_do_no_harm(liars: tuple[int, ...]) -> None:
    federation = _set_up()
    _masked(federation)
    opened = _opened(federation, _with_wrong_shares(*liars))
    assert set(opened.wrong) <= {*liars}
    assert opened.wrong or liars == (7,)  # a share that is not needed is not looked at
    _check(opened, 7)


def test_too_many_wrong_shares_end_the_sum() -> None:
    federation = _set_up()
    _masked(federation)
    with pytest.raises(FederationError, match="the shares of plant 1 for sum 1 do not fit its keys"):
        _opened(federation, _with_wrong_shares(1, 2, 3, 4))
    assert federation.hub.members == ()


def test_shares_that_cannot_be_unsealed_are_told_and_left_out() -> None:
    federation = _set_up()
    for offers in federation.hub._offers.values():
        parcels = dict(offers[3].parcels)
        parcels[1] = bytes(len(parcels[1]))
        object.__setattr__(offers[3], "parcels", parcels)
    _masked(federation)
    seen = {}

    def looked_at(number: int, answer: Answer) -> Answer:
        seen[number] = answer["shares"][2]
        return answer

    opened = _opened(federation, looked_at)
    assert (seen[1] == NOTHING).all()
    assert not (seen[2] == NOTHING).all()
    assert opened.wrong == ()
    _check(opened, 7)


def test_a_plant_that_sends_other_words_than_it_masked_spoils_the_sum_and_nothing_comes_out() -> None:
    federation = _set_up()

    def shifted(number: int, answer: Answer) -> Answer:
        if number == 4:
            answer["masked"] = np.roll(answer["masked"], 1)
        return answer

    _masked(federation, shifted)
    with pytest.raises(FederationError, match="the masks of 7 plants did not match"):
        _opened(federation, lambda number, answer: answer)


def test_answers_that_do_not_belong_to_a_sum_are_refused() -> None:
    federation = _set_up()
    message = federation.hub.ask_sum((1, 2, 3, 4, 5), WORDS)
    answer = federation.plant(1).submit(message, WORDS, numbers_of(1, 1), question(1))
    for number in (6, 9):
        with pytest.raises(ClientError, match="takes one answer of each that was asked"):
            federation.hub.take_words(number, answer)
    with pytest.raises(ClientError, match=r"must be \d+ bytes, got uint8"):
        federation.hub.take_words(1, {"masked": answer["masked"][:-1]})
    with pytest.raises(ClientError, match="must hold masked words"):
        federation.hub.take_words(1, {})
    federation.hub.take_words(1, answer)
    with pytest.raises(ClientError, match="takes one answer of each that was asked"):
        federation.hub.take_words(1, answer)


def test_keys_that_another_signed_are_refused() -> None:
    federation = Federation(register(4))
    answer = federation.plant(1).keys()
    with pytest.raises(ClientError, match="the key of plant 2 is not signed by its registered key"):
        federation.hub.take_keys(2, answer)
    for number in federation.register.numbers:
        federation.hub.take_keys(number, federation.plant(number).keys())
    offers = federation.plant(1).offers(federation.hub.ask_offers())
    with pytest.raises(ClientError, match="the keys of plant 2 for sum 1 are not signed"):
        federation.hub.take_offers(2, offers)
    with pytest.raises(ClientError, match="sealed shares must be for 4 sums and 4 plants"):
        federation.hub.take_offers(1, {**offers, "sealed": offers["sealed"][:, :3]})
    federation.hub.take_offers(1, offers)
    assert federation.hub.ready == (1,)


def test_a_plant_that_signs_another_sum_gives_no_shares() -> None:
    federation = _set_up()
    _masked(federation)
    shared, own = federation.hub.ask_opening()
    answer = federation.plant(1).open({**shared, **own[1]})
    other = signed(registered(1), "included", bytes(32))
    with pytest.raises(ClientError, match="its signature is not of who is in the sum"):
        federation.hub.take_shares(1, {**answer, "witness": np.frombuffer(other, np.uint8)})


def test_stages_come_in_their_order() -> None:
    hub = Hub(register(4), "a run")
    with pytest.raises(ConfigError, match="must leave two honest plants"):
        hub.ask_offers()
    with pytest.raises(FederationError, match="plants must have keys before a sum"):
        hub.ask_sum((1, 2, 3, 4), WORDS)
    with pytest.raises(FederationError, match="must be begun"):
        hub.opened()
    federation = _set_up()
    _masked(federation)
    with pytest.raises(FederationError, match="must be closed before it is opened"):
        federation.hub.opened()
    with pytest.raises(ClientError, match="came after the session began"):
        federation.hub.take_keys(1, federation.plant(1).keys())


@pytest.mark.parametrize("name", ["shares", "witness", "numbers", "offers", "signatures", "sealed"])
def test_odd_answers_are_refused(name: str) -> None:
    federation = _set_up()
    _masked(federation)
    shared, own = federation.hub.ask_opening()
    answer: Arrays = federation.plant(1).open({**shared, **own[1]})
    for odd in (answer[name].astype(np.float64), answer[name][..., None], np.zeros((0, 0), np.uint8)):
        with pytest.raises(ClientError):
            federation.hub.take_shares(1, {**answer, name: odd})
    with pytest.raises(ClientError):
        federation.hub.take_shares(1, {key: array for key, array in answer.items() if key != name})
