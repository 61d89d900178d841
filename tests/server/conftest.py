"""Small federations whose plants are real but for the network between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deployed import Deployment, deploy

Deploy = Callable[..., Deployment]


@pytest.fixture
def deployed(tmp_path: Path) -> Deploy:
    """Return a builder of deployments: policies by plant, and sections of the configuration."""

    def build(policies: dict[str, dict[str, Any]] | None = None, **sections: dict[str, Any]) -> Deployment:
        folder = tmp_path / f"deployment-{len(list(tmp_path.iterdir()))}"
        return deploy(folder, policies, **sections)

    return build
