"""Numbers that a section of the configuration, or a command, and the part behind it both need.

A section must not import what it configures: PyTorch takes seconds to load. So a number that both would state stands
here. What only switches something off (no momentum, every client) is no choice and stands where it is used.
"""

from __future__ import annotations

LEARNING_RATE = 0.3
"""Step size of a client's optimiser in the first round."""

WEIGHT_DECAY = 0.0003
"""Pull of the weights to zero, per step."""

BATCH_SIZE = 16
"""Rows of a client's step."""

MOST_FORGOTTEN = 0.1
"""Share of its way so far that a step of training may undo."""

ENOUGH_FAILURES = 20
"""Validation failures below which nothing is chosen by them, neither a round nor a pass: what is last is kept."""

EVALUATED_CLIENTS = 1000
"""Clients that evaluate in a round at most."""

MOST_BINS = 255
"""Bins of a feature of trees, at most and by default: a code is one byte, and one code is for missing values."""

MOST_POSITIVE_WEIGHT = 1e6
"""Weight of failures at most, and its inverse at least: beyond, the rows of the other class no longer count."""

RANK_ERROR = 0.0005
"""Share of the rows that an interval of several values may hold when bins of trees are cut."""

GENERATED_ROWS = 10_000
"""Rows of a generated table: as many as AI4I 2020 has."""

NUM_CLIENTS = 10
"""Clients, and plants that are generated, where neither the table nor the configuration says how many."""

SERVER_PORT = 8000
"""Port at which plants reach the server."""

SERVER_DAYS = 825
"""Life of the server's certificate, in days."""
