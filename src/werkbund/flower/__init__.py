"""The real federation: plants join over the network, on Flower. The only folder that imports `flwr`."""
