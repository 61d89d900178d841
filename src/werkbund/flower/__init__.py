"""The real federation: plants join over the network, on Flower. The only folder that imports `flwr`.

Nothing is offered here, because Flower takes its time to import; import the module that is needed.
"""

__all__: list[str] = []
