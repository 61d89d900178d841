"""Trees that all clients grow together: the arithmetic, what a client counts, and the loops of the server."""

__all__: list[str] = []
