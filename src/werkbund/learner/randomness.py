"""The one place that touches PyTorch's global generator, and leaves it as it was.

`torch.nn` layers draw initial weights and dropout masks from the global generator and take no other. Inside this
block it is a stream of our own; afterwards it is what it was before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_stream(seed: int) -> Iterator[None]:
    """Let PyTorch draw from a stream of this seed within the block."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
