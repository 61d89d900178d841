"""The dashboard: a page that shows runs as they go, from their folders alone, and changes nothing."""

__all__: list[str] = []
