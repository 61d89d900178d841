import hashlib
import os
import sys
from pathlib import Path

import polars as pl
import pytest

from werkbund.core.errors import ConfigError, DataError
from werkbund.data import rules
from werkbund.data.ai4i import AI4I_SHA256, locate
from werkbund.data.fetch import canonical_bytes, fetch_ai4i
from werkbund.data.generator import generate

FILE = locate(None, os.environ, Path.cwd())
PUBLISHED = FILE is not None and hashlib.sha256(FILE.read_bytes()).hexdigest() == AI4I_SHA256
needs_file = pytest.mark.skipif(not PUBLISHED, reason="no published ai4i2020.csv in WERKBUND_DATA or ../shared/data")

# The repository's own headers: no units, another name for the row number.
UCI_HEADERS = {name: name.split(" [")[0] for name in rules.COLUMNS} | {rules.ROW: "UID"}


def _file() -> Path:
    assert FILE is not None
    return FILE


def _published() -> pl.DataFrame:
    return pl.read_csv(_file()).rename(UCI_HEADERS)


@needs_file
def test_the_repositorys_headers_give_the_published_bytes() -> None:
    assert canonical_bytes(_published()) == _file().read_bytes()


@needs_file
def test_the_order_of_columns_does_not_matter() -> None:
    frame = _published()
    assert canonical_bytes(frame.select(reversed(frame.columns))) == _file().read_bytes()


@needs_file
def test_a_fetched_file_is_kept_and_not_fetched_again(tmp_path: Path) -> None:
    calls = []

    def download() -> pl.DataFrame:
        calls.append(1)
        return _published()

    cache = tmp_path / "made" / "on the way"
    paths = [fetch_ai4i(cache, download) for _ in range(2)]
    assert paths == [cache / "ai4i2020.csv"] * 2
    assert len(calls) == 1
    assert paths[0].read_bytes() == _file().read_bytes()
    assert os.listdir(cache) == ["ai4i2020.csv"]


@needs_file
def test_a_spoilt_file_in_the_cache_is_fetched_anew(tmp_path: Path) -> None:
    (tmp_path / "ai4i2020.csv").write_bytes(_file().read_bytes()[:-100])
    assert fetch_ai4i(tmp_path, _published).read_bytes() == _file().read_bytes()


def test_altered_content_is_refused_and_not_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"SHA-256 {AI4I_SHA256}, got [0-9a-f]{{64}}; it was altered"):
        fetch_ai4i(tmp_path, lambda: generate(100, 1, 0))
    assert os.listdir(tmp_path) == []


def test_missing_columns_are_named() -> None:
    frame = generate(10, 1, 0).drop("TWF", rules.TORQUE)
    with pytest.raises(DataError, match=r"Torque \[Nm\], TWF missing"):
        canonical_bytes(frame)


def test_a_text_among_numbers_is_refused() -> None:
    frame = generate(10, 1, 0).with_columns(pl.lit("hot").alias(rules.AIR))
    with pytest.raises(DataError, match="must hold numbers"):
        canonical_bytes(frame)


def test_canonical_bytes_read_back_as_the_same_table() -> None:
    frame = generate(1000, 1, 3).select(rules.COLUMNS)
    assert pl.read_csv(canonical_bytes(frame)).equals(frame)


def test_without_the_package_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ucimlrepo", None)  # makes its import fail
    with pytest.raises(ConfigError, match=r"pip install 'werkbund\[fetch\]'"):
        fetch_ai4i(tmp_path)
