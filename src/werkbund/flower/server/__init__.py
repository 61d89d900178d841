"""The operator's side: SuperLink, the grid over it, and everything that is asked of a running server."""

__all__: list[str] = []
