"""The charges of one endpoint, and their correction by what the endpoint reports."""

from collections import OrderedDict
from collections.abc import Mapping

from infscale.metrics.store.dispatch import Charge


class Ledger:
    """What was dispatched to one endpoint and has not ended.

    Tokens are whole numbers, so that sums return to exactly 0. `models` has requests and tokens by model; it is
    replaced, never changed, so that snapshots may keep it.
    """

    __slots__ = ("_charges", "_excess", "_excess_since", "models", "tokens")

    def __init__(self) -> None:
        self._charges: OrderedDict[int, Charge] = OrderedDict()
        self._excess = 0
        self._excess_since: float | None = None
        self.tokens = 0.0
        self.models: Mapping[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._charges)

    def add(self, charge: Charge) -> None:
        """Book `charge`."""
        self._charges[charge.number] = charge
        self._count(charge, 1.0)

    def remove(self, number: int) -> Charge | None:
        """Take a charge out; None when it is not booked here (released or written off before)."""
        charge = self._charges.pop(number, None)
        if charge is not None:
            self._count(charge, -1.0)
        return charge

    def _count(self, charge: Charge, sign: float) -> None:
        tokens = sign * charge.tokens
        self.tokens += tokens
        models = dict(self.models)
        requests_of, tokens_of = models.get(charge.model, (0.0, 0.0))
        if requests_of + sign:
            models[charge.model] = (requests_of + sign, tokens_of + tokens)
        else:
            del models[charge.model]
        self.models = models

    def reconcile(self, reported_requests: float, at: float, patience_seconds: float) -> list[Charge]:
        """Write off the oldest charges beyond what the endpoint reports, once that has lasted for `patience_seconds`.

        Only charges older than the patience count: younger ones may not have reached the engine at `at`, the start of
        the scrape. Returns what was written off, already taken out.
        """
        settled = sum(1 for charge in self._charges.values() if charge.at <= at - patience_seconds)
        excess = settled - int(reported_requests)
        if excess <= 0:
            self._excess_since = None
            return []
        if self._excess_since is None:
            self._excess_since, self._excess = at, excess
            return []
        self._excess = min(self._excess, excess)
        if at - self._excess_since < patience_seconds:
            return []
        self._excess_since = None
        oldest = list(self._charges)[: self._excess]
        return [charge for number in oldest if (charge := self.remove(number)) is not None]
