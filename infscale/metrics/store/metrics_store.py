"""The metrics store: the one owner of what is known about endpoints, and the publisher of snapshots.

Sources record into it, picker and adapter read snapshots from it. It runs in one thread; every change has the next
revision number, and the next read of a pool gives a new immutable `PoolSnapshot` with that number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from infscale.endpoint import DiscoveryState, EndpointKey, ObjectKey, Pool
from infscale.latency.priors import PriorTable
from infscale.metrics.pages.bounds import charged
from infscale.metrics.queried import Queried
from infscale.metrics.sample import EngineSample, ScrapeFailure, SourceSample
from infscale.metrics.snapshot import Columns, PoolSettings, PoolSnapshot, PoolState
from infscale.metrics.source import Source
from infscale.metrics.store.described_engine import described, gpus_of
from infscale.metrics.store.dispatch import Charge
from infscale.metrics.store.endpoint_record import EndpointRecord
from infscale.metrics.store.history import EndpointHistory
from infscale.metrics.store.pool_columns import PoolBoard
from infscale.metrics.store.queue_book import QueueBook
from infscale.metrics.store.restarts import began_anew, same_process
from infscale.metrics.store.step_watch import usual_model
from infscale.metrics.store.turned_away import TurnedAway
from infscale.process.connecting import REFUSED

FROZEN_PAGE: Final = "its page stands still although requests were answered"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How the store judges its sources.

    `reconcile_after_seconds`: how long an endpoint must report less than was charged before charges are written off;
    at least one scrape interval. `probation_seconds`: how long a page that did not move although requests were
    dispatched is held against an endpoint that gets no more of them.
    """

    reconcile_after_seconds: float = 1.0
    probation_seconds: float = 60.0


class MetricStore:
    """Owner of observations, dispatch accounting and published snapshots; call it from one thread only."""

    def __init__(
        self,
        store_id: str,
        settings: StoreSettings | None = None,
        default_pool: PoolSettings | None = None,
        pools: Mapping[ObjectKey, PoolSettings] | None = None,
        priors: PriorTable | None = None,
    ) -> None:
        """`priors` has what steps of engines take that were not watched yet; None: nothing is known of them."""
        self._id = store_id
        self._settings = settings or StoreSettings()
        self._default_pool = default_pool or PoolSettings()
        self._pool_settings = dict(pools or {})
        self._priors = priors
        self._number = 0
        self._charge_number = 0
        self._discovery = DiscoveryState()
        self._records: dict[EndpointKey, EndpointRecord] = {}
        self._boards: dict[ObjectKey, PoolBoard] = {}
        self._windows: tuple[float, ...] = (self._default_pool.window_seconds,)
        self.written_off = 0
        self._called_for: list[Callable[[ObjectKey], None]] = []
        self._observers: list[Callable[[], None]] = []

    # Reading

    @property
    def discovery(self) -> DiscoveryState:
        """The discovery state the snapshots are made of."""
        return self._discovery

    def pools(self) -> tuple[ObjectKey, ...]:
        """The pools there are, in discovery order."""
        return tuple(self._boards)

    def snapshot(self, pool: ObjectKey) -> PoolSnapshot | None:
        """The current view of `pool`; None when there is no such pool."""
        board = self._boards.get(pool)
        return None if board is None else board.snapshot()

    def snapshots(self) -> tuple[PoolSnapshot, ...]:
        """The current views of all pools."""
        return tuple(board.snapshot() for board in self._boards.values())

    def gpus(self, key: EndpointKey) -> int | None:
        """How many GPUs the pod of an endpoint has; None: it is not known."""
        record = self._records.get(key)
        return None if record is None else gpus_of(record.endpoint, record.hardware)

    def on_request_without_endpoint(self, tell: Callable[[ObjectKey], None]) -> Callable[[], None]:
        """Have `tell` called with the pool at each request that finds no ready endpoint; gives what ends that.

        It is called while the request waits: it is quick, and raises nothing.
        """
        self._called_for.append(tell)
        return lambda: self._called_for.remove(tell)

    def on_observation(self, tell: Callable[[], None]) -> None:
        """Have `tell` called after each scrape that was taken in or failed; it is quick, and raises nothing."""
        self._observers.append(tell)

    # What sources write

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery: new endpoints start unknown, known ones keep what is known, gone ones are forgotten."""
        records: dict[EndpointKey, EndpointRecord] = {}
        for endpoint in state.endpoints:
            known = self._records.get(endpoint.key)
            if known is None or known.endpoint.authority != endpoint.authority:
                known = EndpointRecord(endpoint, EndpointHistory(self._windows))
            elif known.endpoint.incarnation != endpoint.incarnation:
                known.begins_anew()
            known.endpoint = endpoint
            known.rows = []
            records[endpoint.key] = known
        self._records = records
        self._discovery = state
        self._look_back()
        self._boards = {pool.key: self._placed(pool) for pool in state.pools}

    def configure(self, pool: ObjectKey, settings: PoolSettings) -> None:
        """Judge `pool` by `settings` from now on, for both readers at once."""
        self._pool_settings[pool] = settings
        board = self._boards.get(pool)
        if board is None or board.state.settings == settings:
            return
        self._look_back()
        self._boards[pool] = self._board(board.state.judged_by(settings), board)

    def record_scrape(self, key: EndpointKey, sample: EngineSample, at: float) -> None:
        """Take in a successful scrape that started at `at`."""
        record = self._records.get(key)
        if record is None:
            return
        record.seen_at = max(at, record.seen_at)
        # First what may be refused: of a sample that cannot be taken in, nothing is.
        record.history.observe(sample, at)
        summaries = record.history.summaries()
        if _lost_its_cache(record, sample):
            record.begins_anew()
        moved = record.sample is None or not sample.fingerprint or sample.fingerprint != record.sample.fingerprint
        if moved or self._served_probation(record, at):
            record.unmoved_since = None
        if moved:
            record.moved_at = at
        self._watch_steps(record, sample, at)
        record.sample = sample
        record.failure = _standing_still(record)
        # A page that stands still while requests are answered vouches for nothing after the first of them was sent.
        record.observed_at = at if record.unmoved_since is None else min(at, record.unmoved_since)
        record.summaries = summaries
        waiting, running = sample.gauges.waiting, sample.gauges.running
        if moved and waiting is not None and running is not None:
            self._reconcile(record, waiting + running, at)
        self._observed(record)

    def record_failure(self, key: EndpointKey, cause: str, at: float) -> None:
        """Take in a scrape that failed at `at`: what was known ages on, nothing is replaced by 0."""
        record = self._records.get(key)
        if record is None:
            return
        record.seen_at = max(at, record.seen_at)
        before = record.failure.consecutive if record.failure else 0
        if _refuses(record) != (cause == REFUSED):
            # Nothing listens at the address any more, or something does again: another process in either case.
            record.begins_anew()
        record.failure = ScrapeFailure(at, cause, before + 1)
        self._observed(record)

    def record_beside(self, source: Source, key: EndpointKey, sample: SourceSample, at: float) -> None:
        """Take in what a source beside the engine said of `key` at `at`, unless one that says the same goes first."""
        record = self._records.get(key)
        if record is not None and record.takes(source, at):
            record.beside[source] = sample, at
            record.seen_at = max(at, record.seen_at)
            for pool, row in record.rows:
                self._number += 1
                self._boards[pool].observed_beside(row, record, source, self._number)

    def record_queried(self, query: str, said: Mapping[ObjectKey, Queried]) -> None:
        """Take in what the configured `query` said of each pool of `said`."""
        for pool, queried in said.items():
            board = self._boards.get(pool)
            if board is not None:
                self._number += 1
                board.query({**board.queried, query: queried}, self._number)

    # Dispatch accounting

    def charge(self, pool: ObjectKey, row: int, model: str, tokens: float, now: float) -> Charge:
        """Book one dispatch to the endpoint in `row` of the pool's current snapshot; `tokens` as `charged`."""
        endpoint = self._boards[pool].state.endpoints[row]
        record = self._records[endpoint.key]
        self._charge_number += 1
        charge = Charge(self._charge_number, pool, endpoint.key, model, charged(tokens), now)
        record.ledger.add(charge)
        self._book(record)
        return charge

    def turn_away(self, pool: ObjectKey, now: float) -> None:
        """Count one request to `pool`, which has no ready endpoint, and tell of it."""
        board = self._boards.get(pool)
        if board is not None:
            self._number += 1
            board.turn_away(now, self._number)
            for tell in self._called_for:
                tell(pool)

    def open_queue(self, pool: ObjectKey, now: float) -> QueueBook:
        """The book of what waits for `pool`, which there is; from now on its queue is known, as long as it is there."""
        board = self._boards[pool]
        if board.queue is None:
            window = board.state.settings.window_seconds
            board.queue = QueueBook(now, window, lambda: self._queue_changed(pool))
            self._queue_changed(pool)
        return board.queue

    def release(self, charge: Charge, *, answered: bool) -> None:
        """End a dispatch; `answered` says that the endpoint served it, so that its metrics must have moved.

        A charge that was written off, or whose endpoint is gone, is no longer booked anywhere.
        """
        record = self._records.get(charge.endpoint)
        if record is None:
            return
        if answered and record.must_move and record.unmoved_since is None and charge.at > record.moved_at:
            record.unmoved_since = charge.at
        if record.ledger.remove(charge.number) is not None:
            self._book(record)

    def _queue_changed(self, pool: ObjectKey) -> None:
        board = self._boards.get(pool)
        if board is not None:
            self._number += 1
            board.waits(self._number)

    def _watch_steps(self, record: EndpointRecord, sample: EngineSample, at: float) -> None:
        """Learn how long steps of an engine take; at first with what is known of its like and of those beside it."""
        steps = record.steps
        if self._priors is not None and steps.fit.is_young:
            steps.is_an(described(record.endpoint, sample, record.hardware), self._priors)
        if not steps.observe(sample, at) or not steps.asks_others:
            return
        for pool, _ in record.rows:
            endpoints = self._boards[pool].state.endpoints
            others = [self._records[each.key].steps for each in endpoints if each.key != record.endpoint.key]
            usual = usual_model(others)
            if usual is not None:
                steps.lean_on(*usual, "engines beside it")
                return

    def _served_probation(self, record: EndpointRecord, at: float) -> bool:
        since = record.unmoved_since
        return since is not None and not len(record.ledger) and at - since > self._settings.probation_seconds

    def _reconcile(self, record: EndpointRecord, reported: float, at: float) -> None:
        written_off = record.ledger.reconcile(reported, at, self._settings.reconcile_after_seconds)
        self.written_off += len(written_off)
        if written_off:
            self._book(record)

    # Publishing

    def _settings_of(self, pool: ObjectKey) -> PoolSettings:
        return self._pool_settings.get(pool, self._default_pool)

    def _look_back(self) -> None:
        """Have histories sum up the windows that the pools of today ask for."""
        windows = {self._settings_of(pool.key).window_seconds for pool in self._discovery.pools}
        wanted = tuple(sorted(windows)) or self._windows
        if wanted == self._windows:
            return
        self._windows = wanted
        for record in self._records.values():
            record.history.look_back(wanted)
            record.summaries = record.history.summaries()

    def _placed(self, pool: Pool) -> PoolBoard:
        endpoints = self._discovery.members(pool)
        for row, endpoint in enumerate(endpoints):
            self._records[endpoint.key].rows.append((pool.key, row))
        unknown = Columns.unknown(endpoints)
        before = self._boards.get(pool.key)
        return self._board(PoolState.of(pool.key, self._settings_of(pool.key), endpoints, unknown), before)

    def _board(self, state: PoolState, before: PoolBoard | None) -> PoolBoard:
        """A board of the pool, which goes on with what the one before it knows of the pool itself."""
        self._number += 1
        records = [self._records[endpoint.key] for endpoint in state.endpoints]
        turned_away = TurnedAway() if before is None else before.turned_away
        queue = None if before is None else before.queue
        if queue is not None:
            queue.window = state.settings.window_seconds
        board = PoolBoard(state, self._id, records, self._number, turned_away, queue)
        if before is not None:
            board.query(before.queried, self._number)
        return board

    def _observed(self, record: EndpointRecord) -> None:
        for pool, row in record.rows:
            self._number += 1
            self._boards[pool].observed(row, record, self._number)
        for tell in self._observers:
            tell()

    def _book(self, record: EndpointRecord) -> None:
        for pool, row in record.rows:
            self._number += 1
            self._boards[pool].booked(row, record.ledger, self._number)


def _refuses(record: EndpointRecord) -> bool:
    return record.failure is not None and record.failure.cause == REFUSED


def _lost_its_cache(record: EndpointRecord, sample: EngineSample) -> bool:
    """Whether the engine has lost what it had cached since it was last looked at."""
    before = record.sample
    if _refuses(record) and not same_process(before, sample):
        return True
    return before is not None and (before.asleep != sample.asleep or began_anew(before, sample))


def _standing_still(record: EndpointRecord) -> ScrapeFailure | None:
    """The failure that a page is which was fetched and does not move, always the same one; None for one that does."""
    since, known = record.unmoved_since, record.failure
    if since is None:
        return None
    return known if known is not None and known.cause == FROZEN_PAGE else ScrapeFailure(since, FROZEN_PAGE)
