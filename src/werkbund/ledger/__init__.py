"""A plant's ledger: what was asked, answered and refused, chained and signed, so that anybody can tell it is whole."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.ledger.lines import Head, canonical, digest_of
    from werkbund.ledger.receipts import Receipt, Receipts
    from werkbund.ledger.verifying import Rule, Verified, verified
    from werkbund.ledger.writing import INCIDENT, Ledger
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "INCIDENT",
    "Head",
    "Ledger",
    "Receipt",
    "Receipts",
    "Rule",
    "Verified",
    "canonical",
    "digest_of",
    "verified",
]
