"""From the text of cells to numbers: decimal marks, thousands, minus signs, and words among numbers."""

from __future__ import annotations

import polars as pl

from werkbund.data.dialect import Remark

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "#NV", "NaN", "nan", "NULL", "null", "k.A.", "k. A.")
"""What stands for no value in any column."""

QUALITY = frozenset(
    """
    bad|bad input|bad data|bad quality|i/o timeout|io timeout|timeout|no data|nodata|no sample|no result|no value
    pt created|calc failed|calc off|scan off|scan timeout|not connect|not connected|comm fail|comm error|commfail
    configure|intf shut|shutdown|over range|under range|overrange|underrange|out of serv|out of service|invalid
    invalid float|error|err|err!|fail|failed|fault|offline|disconnected|undefined|unknown|missing|none|nil|null|nan|na
    n/a|n.a.|n. a.|n.v.|n. v.|n/v|k.a.|k. a.|ka|keine angabe|keine daten|kein wert|fehler|fehlt|störung|stoerung
    gestört|ungültig|unbekannt|leer|drahtbruch|überlauf|unterlauf|inf|-inf|+inf|infinity|-infinity|1.#qnan|-1.#qnan
    1.#ind|-1.#ind|1.#inf|-1.#inf|#nv|#n/a|#wert!|#value!|#div/0!|#bezug!|#ref!|#zahl!|#num!|#name?|#null!|-|--|---
    ----|–|—|?|??|???|*|**|***|****|#####|########|-.-|.|-.--
    """.strip()
    .replace("\n", "|")
    .replace("  ", "")
    .split("|")
)
"""Words that controllers, historians and spreadsheets write where there is no number, in small letters."""

COMMA = r"^[+-]?([1-9]\d{0,2}(\.\d{3})+|\d+)?(,\d*)?([eE][+-]?\d+)?$"
POINT = r"^[+-]?([1-9]\d{0,2}(,\d{3})+|\d+)?(\.\d*)?([eE][+-]?\d+)?$"
_DIGIT = r"\d"
_GROUPS = r"^([+-]?\d{1,3})((?:[ \u00a0\u202f\u2009'’]\d{3})+)([.,]\d*)?$"
_FEW = 5  # different words
_SPOILED = 0.1  # share of values that may be words which nobody knows
_SHOWN = 4


def read_cells(column: pl.Series, decimal_comma: bool) -> tuple[pl.Series, Remark | None]:
    """Return a column of texts as numbers where they are numbers, and what was done with the others.

    Parameters
    ----------
    column
        (rows,), texts.
    decimal_comma
        Which mark is before decimals; a column that shows the other one is read by that.

    Returns
    -------
    values
        (rows,), Int64 or Float64 with nulls where a word stood among numbers; or the texts, without blanks around.
    remark
        None where there is nothing to say.

    Examples
    --------
    >>> values, remark = read_cells(pl.Series("n", ["1.458,0", "\\u22123", "Bad", None]), True)
    >>> values.to_list(), remark.message
    ([1458.0, -3.0, None, None], "1 of 3 values is no number and counts as missing: 'Bad' (1).")
    """
    texts = column.str.strip_chars().str.normalize("NFC")
    known = texts.set(texts.is_in(MISSING), None)
    present = len(known) - known.null_count()
    if present == 0:
        return known, None
    plain = _plain(known)
    comma = decimal_comma if _shows(plain, decimal_comma) or not _shows(plain, not decimal_comma) else not decimal_comma
    numbers = as_numbers(plain, comma)
    odd = known.filter(known.is_not_null() & numbers.is_null())
    if not _are_words(odd, present):
        return known, _mixed(column.name, odd, present)
    words = texts.filter(texts.is_not_null() & numbers.is_null() & (texts != ""))
    told = _told(column.name, words, len(texts) - int((texts.fill_null("") == "").sum()))
    return numbers, told or _other_mark(column.name, comma, decimal_comma, present)


def as_numbers(plain: pl.Series, decimal_comma: bool) -> pl.Series:
    """Return texts as numbers, null where one is none; whole numbers as Int64 if all are."""
    group, mark = (".", ",") if decimal_comma else (",", ".")
    fits = plain.str.contains(COMMA if decimal_comma else POINT) & plain.str.contains(_DIGIT)
    bare = plain.set(~fits.fill_null(value=False), None).str.replace_all(group, "", literal=True)
    bare = bare.str.replace(mark, ".", literal=True)
    if not bare.str.contains(r"[.eE]").any():
        whole = bare.str.strip_prefix("+").cast(pl.Int64, strict=False)
        if whole.null_count() == bare.null_count():
            return whole
    return bare.cast(pl.Float64, strict=False)


def shows_comma(plain: pl.Series) -> bool | None:
    """Return whether a column's numbers show a decimal comma, or a decimal point; None if they show neither."""
    comma, point = _shows(plain, True), _shows(plain, False)
    return None if comma == point else comma


def plain_numbers(texts: pl.Series) -> pl.Series:
    """Return texts with a plain minus sign and without blanks or apostrophes between thousands."""
    return _plain(texts.str.strip_chars())


def _plain(texts: pl.Series) -> pl.Series:
    signed = texts.str.replace(r"^[\u2212\u2012\u2013](\s*[\d.,])", "-$1").str.replace(r"^([+-])\s+", "$1")
    grouped = signed.str.contains(_GROUPS).fill_null(value=False)
    if not grouped.any():
        return signed
    joined = signed.str.replace_all(r"[ \u00a0\u202f\u2009'’]", "")
    return pl.select(pl.when(grouped).then(joined).otherwise(signed).alias(texts.name)).to_series()


def _shows(plain: pl.Series, decimal_comma: bool) -> bool:
    """Return whether some numbers can be read with this decimal mark alone, and more so than with the other."""
    comma = plain.str.contains(COMMA) & ~plain.str.contains(POINT)
    point = plain.str.contains(POINT) & ~plain.str.contains(COMMA)
    ours, theirs = (comma, point) if decimal_comma else (point, comma)
    return int(ours.sum() or 0) > int(theirs.sum() or 0)


def _are_words(odd: pl.Series, present: int) -> bool:
    """Return whether what is no number stands for no value: a known word, or one of few without a digit."""
    if len(odd) == present:
        return False
    unknown = odd.filter(~odd.str.to_lowercase().is_in(list(QUALITY)))
    if len(unknown) == 0:
        return True
    few = unknown.n_unique() <= _FEW and len(unknown) <= _SPOILED * present
    return few and not unknown.str.contains(_DIGIT).any()


def _told(name: str, odd: pl.Series, present: int) -> Remark | None:
    if len(odd) == 0:
        return None
    verb, counts = ("is", "counts") if len(odd) == 1 else ("are", "count")
    what = "no number" if len(odd) == 1 else "no numbers"
    return Remark(
        name, f"{len(odd)} of {present} values {verb} {what} and {counts} as missing: {_listed(odd)}.", len(odd)
    )


def _mixed(name: str, odd: pl.Series, present: int) -> Remark | None:
    if len(odd) > present // 2:
        return None
    return Remark(
        name,
        f"It stays a text: {present - len(odd)} of {present} values are numbers, others are such as {_listed(odd)}; "
        "empty those cells to have numbers.",
        len(odd),
    )


def _other_mark(name: str, comma: bool, usual: bool, present: int) -> Remark | None:
    if comma == usual:
        return None
    mark = "comma" if comma else "point"
    return Remark(name, f"Its decimals are written with a {mark}, unlike those of other columns.", present)


def _listed(odd: pl.Series) -> str:
    counts = odd.alias("word").value_counts(name="rows").sort(["rows", "word"], descending=[True, False])
    shown = [f"{word!r} ({rows})" for word, rows in counts.head(_SHOWN).iter_rows()]
    more = counts.height - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
