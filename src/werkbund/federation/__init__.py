"""A configuration becomes parts, parts become a run: what `import werkbund` offers."""

from werkbund.federation.config import changed, check_config, load_config, to_toml
from werkbund.federation.finishing import Run
from werkbund.federation.job import resume, run
from werkbund.federation.sections import Config
from werkbund.federation.seeds import SeedComparison, compare
from werkbund.federation.watch import Nobody, RoundNews, Watcher

__all__ = [
    "Config",
    "Nobody",
    "RoundNews",
    "Run",
    "SeedComparison",
    "Watcher",
    "changed",
    "check_config",
    "compare",
    "load_config",
    "resume",
    "run",
    "to_toml",
]
