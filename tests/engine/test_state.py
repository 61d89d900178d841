from typing import Any

import pytest

from werkbund.core import ConfigError
from werkbund.engine import Rules


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("quorum", 0.0, "federation.quorum"),
        ("quorum", 1.1, "federation.quorum"),
        ("quorum", float("nan"), "federation.quorum"),
        ("timeout_s", 0.0, "federation.round_timeout_s"),
        ("timeout_s", float("nan"), "federation.round_timeout_s"),
        ("evaluate_clients", 0, "evaluation.clients"),
    ],
)
def test_a_rule_out_of_range_is_refused_by_name(name: str, value: Any, key: str) -> None:
    settings: dict[str, Any] = {"seed": 0, "quorum": 1.0, "timeout_s": 1.0, "fingerprint": "", name: value}
    with pytest.raises(ConfigError, match=f"{key} must be .*got {value}"):
        Rules(**settings)
