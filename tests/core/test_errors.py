import pytest

from werkbund.core import errors
from werkbund.core.errors import FederationError, QuorumError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FederationError)]


def test_every_error_is_a_federation_error_and_stands_in_the_tree() -> None:
    assert len(KINDS) == 8
    for kind in KINDS:
        assert kind.__name__ in (errors.__doc__ or "")


def test_a_quorum_error_names_who_failed_and_why() -> None:
    error = QuorumError(3, 4, 2, {"Hof": "no answer in time", "Ulm": "NaN"})
    text = str(error)
    assert all(part in text for part in ("round 3", "needs 4", "got 2", "Hof: no answer in time", "Ulm: NaN"))
    assert "federation.quorum" in text
    assert (error.round, error.needed, error.answered) == (3, 4, 2)
    assert error.reasons == {"Hof": "no answer in time", "Ulm": "NaN"}


def test_a_quorum_error_without_a_cohort_says_so() -> None:
    with pytest.raises(QuorumError, match="nobody was asked"):
        raise QuorumError(1, 1, 0, {})
