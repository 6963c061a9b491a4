"""What a metrics page may say: bounds of its values, and of how much there may be of what it says.

Pages come from programs of others, which may be broken or hostile. A value outside its bounds is unknown, with a cause;
a page that says more than a model server has to say is refused whole, because what would be left of it is not what it
meant. The table for people is in docs/hardening.md.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from infscale.metrics.gauges import Unit


class Bounds(NamedTuple):
    """The values that one kind of number can have, both ends included. NaN is in no bounds."""

    lowest: float
    highest: float

    def hold(self, value: float) -> bool:
        """Whether `value` is one of them."""
        return self.lowest <= value <= self.highest

    def cause(self, value: float) -> str:
        """Why `value`, which they do not hold, is not taken."""
        return f"the page says {value:g}, which is not within {self.lowest:g} to {self.highest:g}"


# What is added up of shares may be a hair above 1.
_HAIR: Final = 1e-6

RATIO: Final = Bounds(0.0, 1.0)
"""A share, such as KV-cache utilisation; `ratio` takes what rounding adds."""
REQUESTS: Final = Bounds(0.0, 1e6)
"""Requests on one endpoint: each takes kilobytes there."""
TOKENS: Final = Bounds(0.0, 1e12)
"""Tokens on one endpoint."""
CACHE_NUMBER: Final = Bounds(1.0, 1e9)
"""Tokens in a block of a KV cache, and blocks in one."""
BYTES: Final = Bounds(0.0, 2.0**50)
"""Memory of the GPUs of one endpoint."""
COUNT: Final = Bounds(0.0, 2.0**53)
"""What a counter or a bucket has counted: beyond that a float does not count one by one. Also sums of seconds."""
ATTRIBUTE: Final = Bounds(-1e18, 1e18)
"""A number that a configuration asks for beside those with a meaning here."""

OF_UNIT: Final[Mapping[Unit, Bounds]] = MappingProxyType(
    {"requests": REQUESTS, "tokens": TOKENS, "ratio": RATIO, "bytes": BYTES, "seconds": COUNT}
)
"""What a gauge can be, by its unit."""

MAX_RATE_PER_SECOND: Final = 1e9
"""What a counter, a bucket or a sum grows by in a second at most; one that is looked at sooner may grow by as much."""
MAX_CHARGE_TOKENS: Final = 1e9
"""The work of one dispatch; the sum of nine million of them is still exact."""
MAX_OUTPUT_TOKENS: Final = 10_000_000
"""What an answer may be expected to have."""

# How much a page may say. A page of 16 data-parallel ranks has some 30,000 lines, of which 3,000 are read.
MAX_LINES: Final = 131_072
"""Lines of a page, read or not."""
MAX_SERIES: Final = 10_000
"""Series of the names that are read."""
MAX_LINE_BYTES: Final = 65_536
"""Bytes of a line that is read."""
MAX_LABELS: Final = 64
"""Labels of a series that is read."""
MAX_LABELS_OF_PAGE: Final = 100_000
"""Labels of all series that are read."""
MAX_NAME_LENGTH: Final = 512
"""Letters of the name of a model or of a LoRA adapter."""
MAX_MODELS: Final = 100
"""Models that one endpoint speaks of."""
MAX_RANKS: Final = 1024
"""Series that are added up to one number: ranks, reasons of finishing, and what else they differ in."""
MAX_RANK_LABELS: Final = 16
"""Labels that number ranks."""
MAX_BUCKETS: Final = 256
"""Buckets of a histogram."""
MAX_COUNTS: Final = 4096
"""Counters, buckets and sums, ranks added up: they are kept for as long as the window is."""
MAX_LORA_NAMES: Final = 256
"""LoRA adapters that an endpoint names as running or waiting."""


def ratio(value: float) -> float | None:
    """`value` as a share, None where it is none."""
    return min(value, 1.0) if 0.0 <= value <= 1.0 + _HAIR else None


def charged(tokens: float) -> float:
    """The whole number of tokens that a dispatch of so much work is booked with; of NaN none."""
    return float(round(tokens if tokens < MAX_CHARGE_TOKENS else MAX_CHARGE_TOKENS)) if tokens > 0 else 0.0
