import numpy as np

from werkbund.selection.geometry import unlikeness


def test_measures_of_unlikeness() -> None:
    vectors = np.array([[1, 0], [0, 2], [-3, 0], [0, 0]], np.float32)
    np.testing.assert_allclose(unlikeness(vectors, "arccos")[0], [0, np.pi / 2, np.pi, np.pi / 2], atol=1e-12)
    np.testing.assert_allclose(unlikeness(vectors, "l2")[0], [0, np.sqrt(5), 4, 1], atol=1e-12)
    np.testing.assert_allclose(unlikeness(vectors, "l1")[0], [0, 3, 4, 1])
