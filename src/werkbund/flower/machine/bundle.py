"""The app bundle with which a run is submitted: a name for the installed version, and no code.

Flower carries an app's code from the server to its nodes. Werkbund's bundle says only where the code lies that is
installed there anyway, so that its hash is the same wherever the same version is installed, and a plant can refuse
any other.
"""

from __future__ import annotations

import hashlib
from functools import cache

import tomlkit

from werkbund._version import __version__

DEFAULTS: dict[str, str | int] = {
    "config": "",
    "set": "",
    "clients": "",
    "rounds": 0,
    "seed": -1,
    "out": "",
    "resume": "",
    "plants": "",
    "wait-s": 60,
}
"""What a run may be told; the same keys stand in the project's own `pyproject.toml`, for `flwr run .`."""

COMPONENTS = {"serverapp": "werkbund.flower.server.app:app", "clientapp": "werkbund.flower.plant.app:app"}


@cache
def bundle() -> bytes:
    """Return the bundle of the installed version."""
    from flwr.cli.build import build_fab_from_files  # takes a second to import

    built: bytes = build_fab_from_files({"pyproject.toml": _project().encode()})[0]
    return built


def bundle_hash() -> str:
    """Return the SHA-256 of the bundle, 64 hexadecimal digits, by which plants know it."""
    return hashlib.sha256(bundle()).hexdigest()


def _project() -> str:
    project = {
        "name": "werkbund",
        "version": __version__,
        "description": "Federated learning for industrial predictive maintenance",
        "dependencies": [f"werkbund=={__version__}"],
    }
    app = {"publisher": "werkbund", "components": COMPONENTS, "config": DEFAULTS}
    return tomlkit.dumps({"project": project, "tool": {"flwr": {"app": app}}})
