import math
from typing import Any

import pytest

from werkbund.core import ConfigError
from werkbund.learner import TrainingPlan


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimizer", "lbfgs"),
        ("learning_rate", 0.0),
        ("learning_rate", -0.1),
        ("learning_rate", math.inf),
        ("learning_rate", math.nan),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-9),
        ("epochs", 0),
        ("epochs", -3),
        ("steps", 0),
        ("batch_size", 0),
        ("clip_norm", 0.0),
        ("clip_norm", math.nan),
        ("positive_weight", 0.0),
        ("positive_weight", math.inf),
        ("proximal", -1.0),
        ("proximal", math.inf),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"training\.{name} must be .*got {value!r}"):
        TrainingPlan(**{name: value})


def test_what_may_be_left_out_may_be_left_out() -> None:
    plan = TrainingPlan()
    assert plan.steps is None
    assert plan.clip_norm is None
