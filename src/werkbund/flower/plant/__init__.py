"""A plant's side: SuperNode, agent, and the worker that answers."""

__all__: list[str] = []
