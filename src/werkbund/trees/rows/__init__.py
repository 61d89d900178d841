"""What a client of a federation of trees counts: its rows in bins, histograms of gradients, scores."""

__all__: list[str] = []
