"""Secure sums: the server learns the sum of a cohort's numbers, and nothing else of any of them.

The protocol is that of Bonawitz et al. with keys and shares sent one sum ahead, so that a sum takes two round trips. A
plant's half is a `Participant`, the server's half a `Hub`; what they say to one another stands in `messages`.

References
----------
K. Bonawitz et al., "Practical secure aggregation for privacy-preserving machine learning", CCS 2017. Deviations: keys
for the next sums come with the answer that opens one; registered keys sign everything; a cohort may be a part of those
that hold shares; the threshold is that of `Thresholds`.
"""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.privacy.sums.hub import AHEAD, Hub, Opened
    from werkbund.privacy.sums.messages import AGREE, KEYS, OFFERS, OPEN, SUBMIT, SUM_KINDS
    from werkbund.privacy.sums.participant import Participant
    from werkbund.privacy.sums.register import LEAST, Register, Thresholds, usual_colluding
    from werkbund.privacy.sums.words import UPDATE_BYTES, Addend, Words
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "AGREE",
    "AHEAD",
    "KEYS",
    "LEAST",
    "OFFERS",
    "OPEN",
    "SUBMIT",
    "SUM_KINDS",
    "UPDATE_BYTES",
    "Addend",
    "Hub",
    "Opened",
    "Participant",
    "Register",
    "Thresholds",
    "Words",
    "usual_colluding",
]
