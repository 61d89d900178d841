"""A whole federation on one machine, to look at."""

__all__: list[str] = []
