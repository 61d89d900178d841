"""A plant's side of a real federation: its rows, its own rules, and what it keeps."""

from werkbund.federation.plant.agreed import RefusedError
from werkbund.federation.plant.plant import Plant
from werkbund.federation.plant.settings import PlantSettings, load_settings
from werkbund.federation.plant.store import PlantFolder

__all__ = ["Plant", "PlantFolder", "PlantSettings", "RefusedError", "load_settings"]
