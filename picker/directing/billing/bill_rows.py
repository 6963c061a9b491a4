"""The rows of a pool's bill: a bounded number of them, whatever requests say of themselves."""

from collections.abc import Collection, Sequence
from typing import Final

from picker.directing.billing.billed_request import BillKey, Ending

MOST_TENANTS: Final = 64
MOST_MODELS: Final = 64
MOST_ROWS: Final = 512
"""Rows of a pool; what comes later and fits in none of them is in `OTHER_ROW`."""
MOST_CHARACTERS: Final = 128
"""Names of tenants and models that are longer are `OTHER`."""
OTHER: Final = "other"
"""The tenant, or model, of all that came when as many as may be were known already."""
UNNAMED: Final = "unnamed"
"""The tenant of all whose requests do not say whose they are."""
OTHER_ROW: Final = BillKey(OTHER, OTHER, "", 0)


class BillRow:
    """GPU-seconds since start of what was billed to `key`: of requests that ended, by their endings, and of others."""

    __slots__ = ("booked", "key", "running")

    def __init__(self, key: BillKey) -> None:
        self.key = key
        self.booked: dict[Ending, float] = {}
        self.running = 0.0

    def book(self, ending: Ending, gpu_seconds: float) -> None:
        """A request that had so much has ended."""
        self.booked[ending] = self.booked.get(ending, 0.0) + gpu_seconds


class BillRows:
    """Owner of the rows. Tenants that are `known` beforehand have rows of their own, however many others come."""

    def __init__(self, known: Collection[str] = ()) -> None:
        self._tenants: set[str] = {UNNAMED, OTHER, *known}
        self._most_tenants = len(self._tenants) + MOST_TENANTS
        self._models: set[str] = {OTHER}
        self._places: dict[BillKey, int] = {OTHER_ROW: 0}
        self._rows = [BillRow(OTHER_ROW)]

    @property
    def all(self) -> Sequence[BillRow]:
        """Every row, by its place; the first is of what fits in no other."""
        return self._rows

    def place(self, tenant: str, model: str, adapter: str, priority: int) -> int:
        """The place of the row for a request of `tenant` ("": it has none), which is made where there is none."""
        model, adapter = _name(self._models, model, MOST_MODELS), _name(self._models, adapter, MOST_MODELS)
        key = BillKey(_name(self._tenants, tenant or UNNAMED, self._most_tenants), model, adapter, priority)
        place = self._places.get(key)
        if place is not None:
            return place
        if len(self._rows) >= MOST_ROWS:
            return 0
        place = self._places[key] = len(self._rows)
        self._rows.append(BillRow(key))
        return place


def _name(known: set[str], name: str, most: int) -> str:
    if name in known or not name:
        return name
    if len(known) >= most or len(name) > MOST_CHARACTERS:
        return OTHER
    known.add(name)
    return name
