"""A plant's side of a real federation: its rows, its own rules, and what it keeps."""

from werkbund.plant.agreed import RefusedError
from werkbund.plant.ledger import Asked
from werkbund.plant.plant import Plant
from werkbund.plant.settings import PlantSettings, load_settings
from werkbund.plant.store import PlantFolder

__all__ = ["Asked", "Plant", "PlantFolder", "PlantSettings", "RefusedError", "load_settings"]
