"""Fetch AI4I 2020 from the UCI repository into the user's cache.

The repository serves the same content under other headers. What arrives is written in the published file's
own form first, and kept only if its checksum is the published one.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from werkbund.core.errors import ConfigError, DataError
from werkbund.data import rules
from werkbund.data.ai4i import AI4I_SHA256, FILE_NAMES

UCI_ID = 601
_BOM = b"\xef\xbb\xbf"
_DECIMALS = (rules.AIR, rules.PROCESS, rules.TORQUE)
_TEXTS = (rules.PRODUCT, rules.TYPE)
_REMEDY = (
    "check the network, or put ai4i2020.csv into the folder that WERKBUND_DATA names; "
    "without the file generated rows are used"
)

Download = Callable[[], pl.DataFrame]


def fetch_ai4i(cache_dir: Path, download: Download | None = None) -> Path:
    """Download AI4I 2020 unless the cache has it, verify it, and return its path.

    Parameters
    ----------
    cache_dir
        Folder for the file; made if need be.
    download
        What returns the table; None for the UCI repository.

    Raises
    ------
    ConfigError
        If the package `ucimlrepo` is not installed.
    DataError
        If the repository cannot be reached or what it sends is not the published content.
    """
    target = cache_dir / FILE_NAMES[0]
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == AI4I_SHA256:
        return target
    content = canonical_bytes((download or _from_uci())())
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != AI4I_SHA256:
        raise DataError(
            f"the fetched table must be AI4I 2020 with SHA-256 {AI4I_SHA256}, got {checksum}; "
            "it was altered on its way or at its source, and is not kept"
        )
    _write(target, content)
    return target


def canonical_bytes(frame: pl.DataFrame) -> bytes:
    """Return a table with AI4I's columns in the published file's form: its header, BOM, CRLF, one decimal.

    Headers may lack their unit in brackets, and the row number may be called UID.

    Raises
    ------
    DataError
        If columns are missing or hold something else than numbers where numbers belong.
    """
    plain = {_plain(name): name for name in frame.columns}
    missing = [name for name in rules.COLUMNS if _plain(name) not in plain]
    if missing:
        raise DataError(f"the fetched table must have all of AI4I's columns, {', '.join(missing)} missing; {_REMEDY}")
    try:
        texts = frame.select(_as_text(plain[_plain(name)], name) for name in rules.COLUMNS)
    except PolarsError as error:
        raise DataError(f"the fetched table must hold numbers where AI4I does: {error}; {_REMEDY}") from error
    return _BOM + texts.write_csv(line_terminator="\r\n", quote_style="never").encode()


def _plain(name: str) -> str:
    bare = re.sub(r"\s*\[.*\]$", "", name.removeprefix("\ufeff")).strip().lower()
    return "udi" if bare == "uid" else bare


def _as_text(column: str, name: str) -> pl.Expr:
    if name in _TEXTS:
        return pl.col(column).cast(pl.String).alias(name)
    if name not in _DECIMALS:
        return pl.col(column).cast(pl.Int64).cast(pl.String).alias(name)
    # The published file writes 309 for a process temperature, but 298.0 for an air temperature.
    whole = "" if name == rules.PROCESS else ".0"
    tenths = (pl.col(column).cast(pl.Float64) * 10).round().cast(pl.Int64)
    digit = (tenths % 10).cast(pl.String)
    decimals = pl.when(digit == "0").then(pl.lit(whole)).otherwise(pl.concat_str(pl.lit("."), digit))
    return pl.concat_str((tenths // 10).cast(pl.String), decimals).alias(name)


def _from_uci() -> Download:
    try:
        from ucimlrepo import fetch_ucirepo
        from ucimlrepo.fetch import DatasetNotFoundError
    except ImportError as error:
        raise ConfigError(
            "fetching needs the package ucimlrepo, which is not installed; run: pip install 'werkbund[fetch]'"
        ) from error

    def download() -> pl.DataFrame:
        try:
            original = fetch_ucirepo(id=UCI_ID).data.original
        except (OSError, ValueError, HTTPException, DatasetNotFoundError) as error:
            raise DataError(f"the UCI repository must be in reach to fetch AI4I 2020: {error}; {_REMEDY}") from error
        return pl.DataFrame({str(name): column.tolist() for name, column in original.items()})

    return download


def _write(target: Path, content: bytes) -> None:
    """Write the file whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
