"""The bill of one pool: accounts of its endpoints, sums since start, and those of each minute.

At any time, to rounding::

    seconds = Σ rows (booked, running) + idle + recomputed
"""

from collections.abc import Callable, Collection
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint, EndpointKey
from infscale.memo import MemoKey
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import BoolArray, PoolSnapshot
from picker.directing.billing.bill_rows import BillRows
from picker.directing.billing.billed_request import BilledRequest, Ending
from picker.directing.billing.endpoint_account import EndpointAccount, EndpointView, Settled
from picker.directing.billing.minutes import Minutes, cell, minute_of
from picker.directing.billing.spending import Spending
from picker.directing.billing.time_shares import StepCost
from picker.directing.served_models import ServedModels
from picker.scheduling.costs.step_costs import usual_costs

_PREEMPTIONS: Final = "preemptions"

CountGpus = Callable[[EndpointKey], int | None]
"""How many GPUs the pod of an endpoint has; None: it is not known."""


class PoolBill:
    """Owner of the accounts; call it from one thread only. Times are monotonic seconds.

    `known` tenants have rows of their own. An endpoint of which it is not known how many GPUs it has counts as one.
    """

    def __init__(self, gpus: CountGpus, known: Collection[str], now: float) -> None:
        self._gpus = gpus
        self.since = now
        """When it was begun."""
        self.rows = BillRows(known)
        self.minutes = Minutes()
        self.spending = Spending(known)
        """What tenants of `known` had, and are expected to have yet."""
        self.seconds = 0.0
        """GPU-seconds of the pool since start."""
        self.idle = 0.0
        self.recomputed = 0.0
        self.ready_gpus = 0.0
        """GPUs of the endpoints that are ready."""
        self.accounts: dict[EndpointKey, EndpointAccount] = {}
        self._endpoints: tuple[Endpoint, ...] = ()
        self._rows_of: dict[EndpointKey, int] = {}
        # Which account has a request, by the number of its charge.
        self._open: dict[int, tuple[EndpointAccount, BilledRequest]] = {}
        # Those whose endpoints are gone: they take nothing any more, and have not ended.
        self._stranded: dict[int, BilledRequest] = {}
        self._loras: Collection[str] = ()

    @property
    def running(self) -> float:
        """GPU-seconds that requests had which have not ended."""
        return sum([row.running for row in self.rows.all])

    @property
    def unknown_gpus(self) -> int:
        """Endpoints of which it is not known how many GPUs they have."""
        return sum([self._gpus(key) is None for key in self.accounts])

    # --- requests -----------------------------------------------------------------------------------------------------

    def began(self, endpoint: EndpointKey, request: BilledRequest, now: float) -> None:
        """A request was sent to an endpoint; one that is not of the pool has no account."""
        account = self.accounts.get(endpoint)
        if account is not None:
            account.began(request, now)
            self._open[request.number] = account, request
            request.expected_seconds *= account.view.gpus
            self.spending.expects(request.tenant, request.expected_seconds)

    def answered(self, number: int, now: float) -> None:
        """The response headers of a request have come."""
        found = self._open.get(number)
        if found is not None:
            found[1].answered_at = now

    def moved(self, number: int, to: EndpointKey, number_there: int, now: float) -> None:
        """The gateway went on with a request to another endpoint, which has answered it."""
        found = self._open.pop(number, None)
        request = self._stranded.pop(number, None) if found is None else found[0].moved(number, now)
        if request is None:
            return
        request.number, request.answered_at = number_there, now
        account = self.accounts.get(to)
        if account is None:
            self._stranded[number_there] = request
        else:
            account.began(request, now)
            self._open[number_there] = account, request

    def ended(self, number: int, ending: Ending, computed: float | None, now: float, *, refused: bool) -> None:
        """A request has ended, of whose prompt so many tokens were `computed`, None: it is not known.

        `refused`: its endpoint answered it with anything but a success.
        """
        found = self._open.pop(number, None)
        if found is None:
            stranded = self._stranded.pop(number, None)
            if stranded is not None:
                stranded.ending = ending
                self._book(stranded)
            return
        account, request = found
        account.ended(number, now)
        request.ending, request.refused = ending, refused
        if computed is not None:
            request.computed(computed)

    # --- settling -----------------------------------------------------------------------------------------------------

    def follow(self, snapshot: PoolSnapshot, now: float, *, whole: bool = False) -> None:
        """Follow the pool; settle what was before `now` of endpoints that count for more or less from then on.

        With `whole` that of all: of a large pool it takes tens of milliseconds.
        """
        self._look(snapshot)
        for key, account in list(self.accounts.items()):
            row = self._rows_of.get(key)
            view = account.view if row is None else self._view(snapshot, row)
            if whole or row is None or _ready_gpus(view) != _ready_gpus(account.view) or view.gpus != account.view.gpus:
                self._settle(account, view, now)
            if row is None:
                self._strand(account)
                del self.accounts[key]
        for key, row in self._rows_of.items():
            if key not in self.accounts:
                self.accounts[key] = EndpointAccount(now, self._view(snapshot, row))
        self.ready_gpus = sum([_ready_gpus(account.view) for account in self.accounts.values()])

    def settle(self, key: EndpointKey, snapshot: PoolSnapshot, now: float) -> None:
        """Settle the account of one endpoint."""
        self._look(snapshot)
        account, row = self.accounts.get(key), self._rows_of.get(key)
        if account is not None and row is not None:
            self._settle(account, self._view(snapshot, row), now)

    def _look(self, snapshot: PoolSnapshot) -> None:
        self._loras = ServedModels.of(snapshot).loras
        if snapshot.endpoints is not self._endpoints:
            self._endpoints = snapshot.endpoints
            self._rows_of = {endpoint.key: row for row, endpoint in enumerate(snapshot.endpoints)}

    def _view(self, snapshot: PoolSnapshot, row: int) -> EndpointView:
        columns = snapshot.columns
        costs = _step_costs(snapshot)
        waiting, running = float(columns.gauges.waiting[row]), float(columns.gauges.running[row])
        window = columns.windows[row]
        preemptions = 0.0
        if window is not None:
            preemptions = sum([rate for (name, _), rate in window.rates.items() if name == _PREEMPTIONS])
        return EndpointView(
            bool(columns.ready[row]),
            self._gpus_of(snapshot, row),
            costs[row],
            None if waiting != waiting else waiting,
            None if waiting != waiting or running != running else waiting + running > 0.0,
            float(columns.observed_at[row]),
            preemptions,
            self._served(snapshot, row),
        )

    def _gpus_of(self, snapshot: PoolSnapshot, row: int) -> float:
        """The endpoint's part of its pod's GPUs: data-parallel ranks have an equal part each."""
        gpus = self._gpus(snapshot.endpoints[row].key)
        if gpus is None:
            return 1.0
        pods = snapshot.state.pods
        return gpus / len(pods.rows[pods.of_row[row]])

    def _served(self, snapshot: PoolSnapshot, row: int) -> str:
        """The model that the page of an endpoint names, where that is one; adapters aside."""
        names = [each for each in snapshot.columns.models[row] if each and each not in self._loras]
        return names[0] if len(names) == 1 else ""

    def _settle(self, account: EndpointAccount, view: EndpointView, now: float) -> None:
        closing = account.closing
        # Readiness also changes by what servers say of themselves.
        self.ready_gpus += _ready_gpus(view) - _ready_gpus(account.view)
        settled = account.settle(now, view)
        minute = minute_of(account.settled_at)
        self._count(settled, minute)
        for request, seconds in settled.shares:
            place = request.row
            if place is None:
                place = request.row = self._place(request, view.served)
            gpu_seconds = seconds * settled.gpus
            request.spend(minute, gpu_seconds)
            self.rows.all[place].running += gpu_seconds
            self.spending.had(request.tenant, gpu_seconds)
            self.minutes.of(minute).add(cell(place, "used"), gpu_seconds)
        for request in closing:
            self._book(request)

    def _count(self, settled: Settled, minute: int) -> None:
        sums, gpus = self.minutes.of(minute), settled.gpus
        shared = sum([seconds for _, seconds in settled.shares]) * gpus
        recomputed, counted = settled.recomputed * gpus, settled.counted * gpus
        # Whatever was rounded in shares is idle.
        idle = max(0.0, counted - recomputed - shared)
        self.seconds += counted
        self.idle += idle
        self.recomputed += recomputed
        sums.counted += counted
        sums.idle += idle
        sums.recomputed += recomputed

    def _book(self, request: BilledRequest) -> None:
        """A request has had its last share."""
        self.spending.ended(request.tenant, request.expected_seconds, request.seconds)
        place = request.row
        if place is None:
            return
        row = self.rows.all[place]
        row.running = row.running - request.seconds
        row.book(request.ending, request.seconds)
        if request.ending != "used":
            self.minutes.ended(request.spent, place, request.ending)

    def _place(self, request: BilledRequest, served: str) -> int:
        """The row of a request to an endpoint that says it serves one model, `served` ("": it does not say which).

        Its adapter is known by now: it may have come with the request.
        """
        model, adapter = request.model, ""
        if model in self._loras:
            model, adapter = served, model
        return self.rows.place(request.tenant, model or served, adapter, request.priority)

    def _strand(self, account: EndpointAccount) -> None:
        for number, request in account.open.items():
            del self._open[number]
            self._stranded[number] = request


def _ready_gpus(view: EndpointView) -> float:
    return view.gpus if view.ready else 0.0


_BILLED_COSTS: Final = MemoKey[list[StepCost]]("step costs of the bill")


def _step_costs(snapshot: PoolSnapshot) -> list[StepCost]:
    """What a step costs each endpoint; where that is not known as it does those of the pool, at the median.

    Not `picker.scheduling.costs.step_costs`, by which prompts cost more where the model is wrong: that has the picker
    careful, and would bill prompts for it.
    """
    derived = snapshot.state.derived
    known = derived.get(_BILLED_COSTS)
    if known is None:
        steps, usual = snapshot.columns.steps, usual_costs(1)
        columns = [
            _filled(column, steps.usable, float(default[0]))
            for column, default in (
                (steps.base, usual.base),
                (steps.per_prefill_token, usual.per_prefill_token),
                (steps.per_kv_token, usual.per_kv_token),
                (steps.per_sequence, usual.per_sequence),
            )
        ]
        known = derived.keep(_BILLED_COSTS, [StepCost(*row) for row in zip(*columns, strict=True)])
    return known


def _filled(column: FloatArray, usable: BoolArray, default: float) -> list[float]:
    if usable.any():
        default = float(np.median(column[usable]))
    found: list[float] = np.where(usable, column, default).tolist()
    return found
