"""A server that cheats is refused by name, and what plants give out is never enough for one plant's numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.privacy.sums.plants import WORDS, Federation, numbers_of, question, register, registered
from werkbund.core.arrays import AnyArray, Arrays
from werkbund.core.errors import ClientError, ConfigError
from werkbund.privacy.sums import Addend, Words
from werkbund.privacy.sums.participant import MOST_AHEAD, MOST_QUESTIONS
from werkbund.privacy.sums.primitives import private_key, public_of, signed

Message = dict[str, AnyArray]
MINE = private_key(bytes([7]) * 32)
"""A key that the server made."""


def _set_up(plants: int = 5, strict: bool = False, change: Callable[[Message], Arrays] | None = None) -> Federation:
    federation = Federation(register(plants, strict=strict))
    if change is not None:
        federation.change = lambda stage, number, message: change(message) if number == 1 else message
    federation.set_up()
    return federation


def _begun(federation: Federation, submitting: tuple[int, ...] = (1, 2, 3, 4, 5)) -> Message:
    """Lead a sum up to masked words; return what `AGREE` or the shared half of `OPEN` sends."""
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    turn = int(message["turn"])
    for number in submitting:
        mine = federation.plant(number)
        federation.hub.take_words(number, mine.submit(message, WORDS, numbers_of(number, turn), question(turn)))
    return message


def _opening(federation: Federation, number: int = 1) -> Message:
    shared, own = federation.hub.ask_opening()
    return {**shared, **own[number]}


def _submit(federation: Federation, message: Arrays, asked: bytes = b"", number: int = 1) -> Arrays:
    return federation.plant(number).submit(message, WORDS, numbers_of(number, 1), asked or question(1))


def test_a_swapped_key_of_a_session_is_refused() -> None:
    def swapped(message: Message) -> Arrays:
        message["exchanges"][2] = np.frombuffer(public_of(MINE), np.uint8)
        return message

    with pytest.raises(ClientError, match="the key of plant 3 is not signed by its registered key"):
        _set_up(change=swapped)


def test_a_plant_is_shown_its_own_key_or_shares_nothing() -> None:
    federation = _set_up()
    federation.plant(1).keys()  # another key, of which the server shows the first
    with pytest.raises(ClientError, match="another key than this plant's"):
        federation.plant(1).offers(federation.hub.ask_offers())


def test_too_few_members_share_nothing() -> None:
    def few(message: Message) -> Arrays:
        return {name: array[:2] if array.ndim else array for name, array in message.items()}

    with pytest.raises(ConfigError, match="must leave two honest plants"):
        _set_up(change=few)


def test_a_session_has_the_same_members_to_its_end() -> None:
    federation = _set_up()

    def others(message: Message) -> Message:
        return {name: array[:4] if array.ndim else array for name, array in message.items()}

    with pytest.raises(ClientError, match="the session has begun with other keys"):
        federation.plant(1).offers(others(federation.hub.ask_offers()))


def test_a_swapped_mask_key_is_refused() -> None:
    federation = _set_up()
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    offers = message["offers"].copy()
    offers[2, :32] = np.frombuffer(public_of(MINE), np.uint8)
    with pytest.raises(ClientError, match="the keys of plant 3 for sum 1 are not signed by its registered key"):
        _submit(federation, {**message, "offers": offers})
    signatures = message["signatures"].copy()
    session = federation.memories[1]["session"].tobytes()
    signatures[2] = np.frombuffer(signed(registered(2), "offer", session, 1, 3, offers[2].tobytes()), np.uint8)
    with pytest.raises(ClientError, match="the keys of plant 3"):  # another plant's signature does not help
        _submit(federation, {**message, "offers": offers, "signatures": signatures})
    offers = message["offers"].copy()
    offers[0, :32] = np.frombuffer(public_of(MINE), np.uint8)
    with pytest.raises(ClientError, match="other keys than this plant's"):
        _submit(federation, {**message, "offers": offers})


def test_a_small_cohort_is_refused() -> None:
    federation = _set_up()
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    few = {name: message[name][:3] for name in ("cohort", "offers", "signatures")}
    with pytest.raises(ClientError, match="sum 1 needs 4 plants of 3, and 3 were asked"):
        _submit(federation, {**message, **few})


def test_a_sum_is_masked_once() -> None:
    federation = _set_up()
    message = _begun(federation)
    with pytest.raises(ClientError, match="sum 1 is over: this plant has answered sum 1"):
        _submit(federation, message, question(2))


def test_a_plant_that_is_not_asked_masks_nothing() -> None:
    federation = Federation(register(8, colluding=1))
    federation.set_up()
    message = federation.hub.ask_sum((2, 3, 4, 5, 6), WORDS)
    with pytest.raises(ClientError, match="is not for this plant"):
        _submit(federation, message)


def test_a_sum_without_keys_is_refused() -> None:
    federation = _set_up()
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    with pytest.raises(ClientError, match="no keys for sum 9"):
        _submit(federation, {**message, "turn": np.array(9)})
    federation.plant(1).keys()
    with pytest.raises(ClientError, match="in no session of secure sums"):
        _submit(federation, message)


def test_another_layout_of_words_is_refused() -> None:
    federation = _set_up()
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    other = Words((Addend("count", (2,), None, True), Addend("update", (3,), 200.0, False, 5)), clients=100)
    with pytest.raises(ClientError, match="in different ways"):
        federation.plant(1).submit(message, other, numbers_of(1, 1), question(1))


def test_nothing_has_left_where_numbers_do_not_fit() -> None:
    federation = _set_up()
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    huge = {**numbers_of(1, 1), "update": np.array([0.0, 101.0, 0.0])}
    with pytest.raises(ClientError, match="no larger than 100"):
        federation.plant(1).submit(message, WORDS, huge, question(1))
    assert "submitted" not in federation.memories[1]
    _submit(federation, message)


def test_other_plants_are_shown_other_cohorts_and_nothing_can_be_opened() -> None:
    federation = _set_up()
    _begun(federation)
    opening = _opening(federation)
    offers = opening["offers"].copy()
    offers[4] = offers[3]
    with pytest.raises(ClientError, match="sum 1 was masked here among other plants, or under other keys"):
        federation.plant(1).open({**opening, "offers": offers})
    less = {"cohort": opening["cohort"][:4], "offers": opening["offers"][:4], "sealed": opening["sealed"][:4]}
    with pytest.raises(ClientError, match="sum 1 needs 4 plants of 4"):
        federation.plant(1).open({**opening, **less, "included": opening["included"][:3]})
    with pytest.raises(ClientError, match="sum 1 was masked here among other plants"):
        federation.plant(1).open({**opening, **less, "included": opening["included"][:4]})


def test_both_secrets_of_a_plant_are_not_given_out() -> None:
    federation = _set_up()
    _begun(federation)
    opening = _opening(federation)
    first = federation.plant(2).open({**opening, **federation.hub.ask_opening()[1][2]})
    without = {**opening, **federation.hub.ask_opening()[1][2], "included": np.array([1, 2, 3, 4])}
    with pytest.raises(ClientError, match="was told that others are in sum 1; it answers one of the two"):
        federation.plant(2).open(without)
    again = federation.plant(2).open({**opening, **federation.hub.ask_opening()[1][2]})
    np.testing.assert_array_equal(first["shares"], again["shares"])  # a lost answer may be asked for again


@pytest.mark.parametrize(
    ("included", "why"),
    [
        ([1, 2, 3, 9], "numbers that ascend"),
        ([1, 2, 2, 3], "numbers that ascend"),
        ([4, 3, 2, 1], "numbers that ascend"),
        ([1, 2, 3], "sum 1 needs 4 plants of 5, and 3 are in the sum"),
    ],
)
def test_who_is_in_the_sum_is_of_the_cohort_and_enough(included: list[int], why: str) -> None:
    federation = _set_up()
    _begun(federation)
    with pytest.raises(ClientError, match=why):
        federation.plant(1).open({**_opening(federation), "included": np.array(included)})


def test_a_plant_that_sent_nothing_is_in_no_sum() -> None:
    federation = _set_up()
    _begun(federation, (2, 3, 4, 5))
    opening = _opening(federation)
    with pytest.raises(ClientError, match="this plant's last numbers are of 0"):
        federation.plant(1).open({**opening, "included": np.array([1, 2, 3, 4])})
    federation.plant(1).open(opening)


def test_a_sum_that_is_over_is_not_opened() -> None:
    federation = _set_up()
    _begun(federation)
    opening = _opening(federation)
    for number in federation.hub.members:
        shared, own = federation.hub.ask_opening()
        federation.hub.take_shares(number, federation.plant(number).open({**shared, **own[number]}))
    federation.hub.opened()
    _begun(federation)
    with pytest.raises(ClientError, match="sum 1 cannot be opened here"):
        federation.plant(1).open(opening)


def test_a_question_is_not_answered_under_another_cohort() -> None:
    federation = Federation(register(8, colluding=1))
    federation.set_up()
    same = question("weights of round 3")
    federation.sum(asked=same)
    with pytest.raises(ClientError, match="the difference of two such sums is one plant's own answer"):
        federation.sum(cohort=(1, 2, 3, 4, 5, 6, 7), asked=same)
    federation.set_up()  # nor in another session
    with pytest.raises(ClientError, match="the difference of two such sums"):
        federation.sum(cohort=(1, 2, 3, 4, 5, 6, 7), asked=same)
    federation.set_up()
    assert federation.sum(asked=same).included == (1, 2, 3, 4, 5, 6, 7, 8)


def test_a_question_is_not_summed_over_others_the_second_time() -> None:
    federation = _set_up()
    same = question("level 0 of tree 1")
    federation.sum(asked=same)
    with pytest.raises(ClientError, match="was summed over other plants before"):
        federation.sum(asked=same, submit={3})


def test_a_part_of_the_members_answers_a_question_once() -> None:
    """Members that were not asked do not know the question, and might open it over others."""
    federation = Federation(register(8, colluding=1))
    federation.set_up()
    federation.sum(cohort=range(1, 7), asked=question("a"))
    with pytest.raises(ClientError, match="or may be summed over others"):
        federation.sum(cohort=range(1, 7), asked=question("a"))


def test_plants_that_were_told_different_things_end_the_session() -> None:
    federation = _set_up(6)
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    for number in federation.hub.members:
        answer = federation.plant(number).submit(message, WORDS, numbers_of(number, 1), question(1))
        federation.hub.take_words(number, answer)
    shared, own = federation.hub.ask_opening()
    lie = {**shared, **own[1], "included": np.array([1, 2, 3, 4, 5])}
    federation.plant(1).open(lie)
    for number in (2, 3, 4, 5, 6):
        federation.hub.take_shares(number, federation.plant(number).open({**shared, **own[number]}))
    assert federation.hub.opened().included == (1, 2, 3, 4, 5, 6)
    with pytest.raises(ClientError, match="the server told plants different things"):
        federation.sum()


def test_a_session_goes_on_with_signatures_of_enough_plants_alone() -> None:
    federation = _set_up()
    federation.sum()
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    few = {name: message[name][:3] for name in ("witnessed", "witnesses", "witness_signatures")}
    with pytest.raises(ClientError, match="4 plants must have signed who is in the sum as this plant was told, and 3"):
        _submit(federation, {**message, **few}, question(2))
    forged = message["witness_signatures"].copy()
    forged[0] = forged[1]
    with pytest.raises(ClientError, match="and 3"):
        _submit(federation, {**message, "witness_signatures": forged}, question(2))
    _submit(federation, message, question(2))


def test_where_plants_agree_first_a_sum_is_opened_as_enough_of_them_signed() -> None:
    federation = _set_up(strict=True)
    _begun(federation)
    agreement = federation.hub.ask_agreement()
    for number in federation.hub.members:
        federation.hub.take_witness(number, federation.plant(number).agree(agreement))
    with pytest.raises(ClientError, match="it answers one of the two"):
        federation.plant(1).agree({**agreement, "included": np.array([1, 2, 3, 4])})
    opening = _opening(federation)
    few = {name: opening[name][:3] for name in ("witnessed", "witnesses", "witness_signatures")}
    with pytest.raises(ClientError, match="4 plants must have signed"):
        federation.plant(1).open({**opening, **few})
    federation.plant(1).open(opening)


@pytest.mark.parametrize("through", [0, -1, 2**63 - 1])
def test_keys_are_made_for_a_few_sums_ahead(through: int) -> None:
    federation = _set_up()
    message = {**federation.hub.ask_offers(), "through": np.array(through)}
    if through < 1 or through > 2**62:
        with pytest.raises(ClientError, match="must hold through, one number"):
            federation.plant(1).offers(message)
    answer = federation.plant(1).offers({**message, "through": np.array(10**6)})
    assert len(answer["numbers"]) == MOST_AHEAD


def test_a_plant_remembers_questions_and_answers_no_more_than_it_can_remember() -> None:
    federation = _set_up()
    message = federation.hub.ask_sum(federation.hub.ready, WORDS)
    rows = np.arange(MOST_QUESTIONS, dtype=np.uint64).view(np.uint8).reshape(MOST_QUESTIONS, 8)
    federation.memories[1]["questions"] = np.tile(rows, 12)
    with pytest.raises(ClientError, match="20000 questions were answered"):
        _submit(federation, message)


def test_secrets_of_earlier_sums_are_deleted() -> None:
    federation = _set_up()
    first = federation.memories[1]["roots"][0].copy()
    federation.sum()
    federation.sum(submit={1})
    kept = federation.memories[1]
    assert kept["offered"].tolist() == [2, 3, 4, 5, 6]
    assert not (kept["roots"] == first).all(axis=1).any()
    exchange = kept["exchange"].copy()
    federation.plant(1).keys()
    assert sorted(kept) == ["exchange", "questions"]
    assert (kept["exchange"] != exchange).any()


@pytest.mark.parametrize("stage", ["offers", "submit", "agree", "open"])
def test_odd_messages_are_refused_and_change_nothing(stage: str) -> None:
    federation = _set_up(strict=stage == "agree")
    messages: dict[str, Callable[[], Arrays]] = {"offers": federation.hub.ask_offers}
    messages["submit"] = lambda: federation.hub.ask_sum(federation.hub.ready, WORDS)
    if stage in ("agree", "open"):
        _begun(federation, (2, 3, 4, 5))
    messages |= {"agree": federation.hub.ask_agreement, "open": lambda: _opening(federation)}
    message, plant = messages[stage](), federation.plant(1)
    ask = {
        "offers": plant.offers,
        "submit": lambda message: plant.submit(message, WORDS, numbers_of(1, 1), question(1)),
        "agree": plant.agree,
        "open": plant.open,
    }[stage]
    before = {name: array.tobytes() for name, array in federation.memories[1].items()}
    optional = {"witnessed", "witnesses", "witness_signatures"}
    for name in message.keys() - optional:
        for odd in (None, message[name].astype(np.float64), message[name][..., None], np.zeros((0, 0), np.uint8)):
            changed = {key: array for key, array in message.items() if key != name or odd is not None}
            if odd is not None:
                changed[name] = odd
            with pytest.raises(ClientError):
                ask(changed)
    assert before == {name: array.tobytes() for name, array in federation.memories[1].items()}
    ask(message)
