"""Messages: arrays, parcels, tasks and answers as bytes, and their place in Flower's records."""

__all__: list[str] = []
