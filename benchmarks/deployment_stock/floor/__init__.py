"""A Flower app as Flower's documentation writes one, without work in the client."""
