import numpy as np

from werkbund.core.types import Choice
from werkbund.selection import Reports
from werkbund.selection.choices import AnnotatedChoice, notes_on

CLIENTS, ONES = np.array([2, 5, 9]), np.ones(3)


def test_notes_are_found_by_client() -> None:
    choice = AnnotatedChoice(CLIENTS, ONES, ONES, ("",) * 3, notes={"rows": np.array([20.0, 50.0, 90.0])})
    reports = Reports(1, np.array([5, 7, 9]), {}, (), choice=choice)
    assert notes_on(reports, "rows", -1.0).tolist() == [50.0, -1.0, 90.0]
    assert notes_on(reports, "price", -1.0).tolist() == [-1.0] * 3


def test_a_plain_choice_and_none_have_no_notes() -> None:
    for choice in (None, Choice(CLIENTS, ONES, ONES, ("",) * 3)):
        assert notes_on(Reports(1, CLIENTS, {}, (), choice=choice), "rows", 0.0).tolist() == [0.0] * 3
