"""What a plant may keep to itself in more than one protocol."""

from __future__ import annotations

from werkbund.core.kinds import Signal

ROWS = Signal("rows", "how many rows the plant has")
LOSS = Signal("loss", "how high the loss on the training rows is, as a sum; in clear where clients are chosen by it")
COUNTS = Signal("counts", "how well the common model does on the plant's held-out rows, as counts of scores")
NORM = Signal("norm", "how long its update is, where clients are chosen by that")
