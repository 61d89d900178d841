"""Families of models: what a run is made of where the model is a network, and where it is trees."""

__all__: list[str] = []
