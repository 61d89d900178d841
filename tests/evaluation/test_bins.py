"""The grid of scores is stated twice, for those who count and for those who read: both say the same."""

import numpy as np

from werkbund.evaluation import bins
from werkbund.learner import counts


def test_grid_is_that_of_the_clients_who_count() -> None:
    for name in ("NUM_BINS", "BINS_PER_LOGIT", "LOWEST_LOGIT", "NUM_DECILES"):
        assert getattr(bins, name) == getattr(counts, name)


def test_lower_probabilities_are_those_of_the_lower_edges() -> None:
    probabilities = bins.lower_probabilities()
    edges = counts.edge(np.arange(1, bins.NUM_BINS))
    np.testing.assert_allclose(counts.logits_of(probabilities[1:]), edges, atol=1e-8)


def test_lowest_bin_is_open_and_begins_at_probability_0() -> None:
    assert bins.lower_probabilities()[0] == 0.0
    assert (np.diff(bins.lower_probabilities()) > 0).all()
