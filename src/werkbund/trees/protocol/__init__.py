"""How a server grows trees with its clients: agreeing on bins, rounds of levels, bagging, the state of a run."""

__all__: list[str] = []
