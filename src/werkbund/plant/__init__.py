"""A plant's side of a real federation: its rows, its own rules, and what it keeps."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.plant.agreed import RefusedError
    from werkbund.plant.ledger import Asked
    from werkbund.plant.plant import Plant
    from werkbund.plant.settings import PlantSettings, load_settings
    from werkbund.plant.store import PlantFolder
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = ["Asked", "Plant", "PlantFolder", "PlantSettings", "RefusedError", "load_settings"]
