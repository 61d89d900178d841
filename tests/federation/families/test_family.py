"""A kind of model that is not known is answered with all that are."""

from __future__ import annotations

import pytest

from werkbund.config import load_config
from werkbund.core.errors import ConfigError
from werkbund.federation.families.family import SHIPPED_MODELS, family_of


def test_an_unknown_kind_of_model_names_every_known_one() -> None:
    with pytest.raises(ConfigError, match="got 'xgboost'") as caught:
        family_of(load_config(None, ["model.kind=xgboost"]))
    assert len(SHIPPED_MODELS) >= 6
    assert f"one of {', '.join(SHIPPED_MODELS)} or" in str(caught.value)
