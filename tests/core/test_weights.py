import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from werkbund.core import Layout, ModelError
from werkbund.core.weights import norm, norms

LAYOUT = Layout(("a", "b", "scalar"), ((2, 3), (4,), ()))
FLOATS = st.floats(-1e3, 1e3, width=32)


def test_sizes_follow_the_shapes() -> None:
    assert LAYOUT.sizes == (6, 4, 1)
    assert LAYOUT.num_parameters == 11
    assert LAYOUT.slices() == {"a": slice(0, 6), "b": slice(6, 10), "scalar": slice(10, 11)}


@given(hnp.arrays(np.float32, 11, elements=FLOATS))
def test_joining_undoes_splitting(vector: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
    np.testing.assert_array_equal(LAYOUT.join(LAYOUT.split(vector)), vector)


def test_splitting_gives_views() -> None:
    vector = np.zeros(11, np.float32)
    LAYOUT.split(vector)["b"][:] = 1
    assert vector.sum() == 4


def test_leading_axes_are_kept() -> None:
    split = LAYOUT.split(np.arange(33, dtype=np.float32).reshape(3, 11))
    assert split["a"].shape == (3, 2, 3)
    assert split["scalar"].shape == (3,)
    np.testing.assert_array_equal(split["scalar"], [10, 21, 32])


@pytest.mark.parametrize(
    "other",
    [
        Layout(("b", "a", "scalar"), ((2, 3), (4,), ())),
        Layout(("a", "b", "scalar"), ((3, 2), (4,), ())),
        Layout(("a", "b", "scalar"), ((6,), (4,), ())),
        Layout(("b", "a", "scalar"), ((4,), (2, 3), ())),
        Layout(("a", "b"), ((2, 3), (4,))),
    ],
)
def test_another_layout_has_another_fingerprint(other: Layout) -> None:
    assert other.fingerprint != LAYOUT.fingerprint


def test_an_equal_layout_has_the_same_fingerprint() -> None:
    again = Layout(LAYOUT.names, LAYOUT.shapes)
    assert again.fingerprint == LAYOUT.fingerprint
    assert len(again.fingerprint) == 16


def test_names_must_be_distinct_and_have_a_shape_each() -> None:
    with pytest.raises(ModelError, match="distinct names"):
        Layout(("a", "a"), ((1,), (1,)))
    with pytest.raises(ModelError, match="one shape"):
        Layout(("a", "b"), ((1,),))


def test_joining_refuses_missing_unknown_and_misshapen_tensors() -> None:
    good = {"a": np.zeros((2, 3)), "b": np.zeros(4), "scalar": np.zeros(())}
    missing = {name: value for name, value in good.items() if name != "b"}
    for bad in (missing, {**good, "c": np.zeros(())}, {**good, "b": np.zeros((2, 2))}):
        with pytest.raises(ModelError, match="tensors must be"):
            LAYOUT.join(bad)


def test_an_empty_layout_has_an_empty_vector() -> None:
    empty = Layout((), ())
    assert empty.num_parameters == 0
    assert empty.join({}).shape == (0,)
    assert empty.split(np.empty(0, np.float32)) == {}


@given(hnp.arrays(np.float32, (3, 7), elements=FLOATS))
def test_norms_are_numpys_in_double_precision(matrix: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
    expected = np.linalg.norm(matrix.astype(np.float64), axis=1)
    np.testing.assert_allclose(norms(matrix), expected, rtol=1e-12)
    np.testing.assert_allclose([norm(row) for row in matrix], expected, rtol=1e-12)


def test_a_norm_beyond_single_precision_does_not_overflow() -> None:
    assert norm(np.full(4, 3e38, np.float32)) == pytest.approx(2 * float(np.float32(3e38)))
