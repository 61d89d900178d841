"""A kind of model that is not known is answered with all that are."""

from __future__ import annotations

import pytest

from werkbund.config import load_config
from werkbund.config.models import SHIPPED_MODELS
from werkbund.core.errors import ConfigError
from werkbund.federation.families.family import _FAMILIES, family_of
from werkbund.learner.models import NETWORKS


def test_an_unknown_kind_of_model_names_every_known_one() -> None:
    with pytest.raises(ConfigError, match="got 'xgboost'") as caught:
        family_of(load_config(None, ["model.kind=xgboost"]))
    assert len(SHIPPED_MODELS) >= 6
    assert f"one of {', '.join(SHIPPED_MODELS)} or" in str(caught.value)


def test_the_kinds_that_ship_are_those_that_there_are() -> None:
    assert set(SHIPPED_MODELS) == {*NETWORKS, *_FAMILIES}
