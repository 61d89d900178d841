import dataclasses

import numpy as np
import pytest

from werkbund.core import Failure, Replies, Tasks
from werkbund.engine.kinds import TRAIN


def test_tasks_and_replies_are_as_long_as_their_clients() -> None:
    assert len(Tasks(TRAIN, 1, np.arange(3))) == 3
    assert len(Replies(TRAIN, 1, np.arange(0))) == 0


def test_what_travels_cannot_be_reassigned() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Failure(1, 2, "late").client = 3  # type: ignore[misc]
