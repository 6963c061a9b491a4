"""The part that decides about requests: directors by the scheduling in force, and what is counted of them."""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from prometheus_client.registry import Collector

from infscale.client_headers import ignored
from infscale.config.settings import ScrapeSettings, ServeConfig
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.metrics.store.metrics_store import MetricStore
from infscale.rollouts.rollout_book import RolloutBook
from infscale.serving.copying.shadow_sending import ShadowSending
from infscale.serving.observing import Observing
from infscale.serving.parts import Part
from infscale.serving.scraping import scraping
from infscale.telemetry.debug_documents import DebugFinder, DebugPage
from picker.directing.billing.bill_document import asked_seconds, bill_document
from picker.directing.billing.billed_director import BilledDirector
from picker.directing.billing.bills import Bills
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.directing.falling_back.fallback_director import FallbackDirector
from picker.directing.falling_back.fallback_target import FallbackTarget, Targets
from picker.directing.holding.flow_director import FlowDirector
from picker.directing.holding.holding_director import Alarm
from picker.directing.holding.pool_flow import FlowSettings
from picker.directing.pool_directors import PoolDirectors
from picker.directing.reference.reference_flow_director import ReferenceFlowControl, ReferenceFlowDirector
from picker.directing.served_models import KnownAdapters, Listed
from picker.directing.watching.recorded_director import RecordedDirector, Recorder
from picker.epp_config.loader import PickerConfig
from picker.explaining.explanation import wall_of
from picker.explaining.input_sheet import InputSheet
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.flow.budgets import Budget
from picker.flow.tenant_budgets import TenantBudget
from picker.parsing import ParserTable
from picker.request import Director
from picker.sessions.session_tokens import TokenKeys
from picker.telemetry.bill_metrics import BillCollector
from picker.telemetry.fallback_metrics import FallbackCollector
from picker.telemetry.flow_metrics import FlowCollector
from picker.telemetry.reference_flow_metrics import ReferenceFlowCollector

_LOG = logging.getLogger(__name__)

_REWRITES_NOTE = (
    "models are rewritten: clients read the name of the model that served them, unless the gateway sends the picker "
    "response bodies (response_body_mode: FULL_DUPLEX_STREAMED)"
)


def _exchange_settings(config: ServeConfig, scheduling: PickerConfig) -> ExchangeSettings:
    picker = config.picker
    reference = picker.error_format == "reference"
    return ExchangeSettings(
        error_format=picker.error_format,
        echo_request_headers=reference,
        buffer_responses=reference,
        max_body_bytes=picker.max_body_bytes,
        destination_count=picker.destinations,
        parsers=ParserTable.of(scheduling.parsers),
        subset_hints=picker.subset_hints,
        attributes=scheduling.reporting.attributes,
        report_served=scheduling.reporting.served,
        ignored_headers=ignored(picker.trusted_headers),
        # What the reference picker says, it says to the letter.
        tell_revision=not reference,
        tell_picks=picker.explain.tell,
    )


def _targets(config: ServeConfig) -> Targets:
    """Where requests go instead, as the configuration says it."""
    return {
        own: [
            FallbackTarget(
                each.pool or own,
                each.model,
                frozenset(each.models),
                each.after_seconds,
                each.max_requests,
                each.max_share,
            )
            for each in listed
        ]
        for own, listed in (config.picker.fallback or {}).items()
    }


def _wall() -> float:
    return datetime.now(UTC).timestamp()


class Deciding(Part):
    """Makes directors and exchanges; guards the scheduling in force, which changes between requests only."""

    def __init__(  # noqa: PLR0913 # each is a part of its own
        self,
        config: ServeConfig,
        scheduling: PickerConfig,
        store: MetricStore,
        clock: Callable[[], float],
        rng: random.Random,
        lists: Listed | None = None,
        rollouts: RolloutBook | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._rng = rng
        self._clock = clock
        self._directing = DirectorSettings(
            unknown_models=config.picker.unknown_models,
            lists=lists,
            emit_scores=config.picker.emit_endpoint_scores,
            trusted_headers=frozenset(config.picker.trusted_headers),
            unknown_objectives=config.picker.unknown_objectives,
            unknown_load=config.picker.unknown_load,
            wall=_wall,
            explained=config.picker.explain.picks,
            rollouts=rollouts,
        )
        self._closed: Callable[[InputSheet], None] | None = None
        self.scheduling = scheduling
        self._exchanging = _exchange_settings(config, scheduling)
        self._shadow: ShadowSending | None = None
        self.directors = PoolDirectors(self._director, config.picker.pool, store)
        names = config.telemetry.reference_names
        self.observing = Observing(self.directors, store, clock, reference_names=names)
        waiting = config.picker.flow_control
        self.bills = Bills(store, {*(waiting.weights or ()), *(waiting.budgets or ())})
        """Whose requests took the GPU-seconds of the pools."""
        store.on_observation(lambda: self.bills.observed(self._clock()))
        self._inner = BilledDirector(self.observing.director, self.bills)
        self._outermost: Director = self._inner
        self.flow: FlowDirector | ReferenceFlowDirector | None = None
        """What has requests wait, where they may."""
        self._fallback: FallbackDirector | None = None
        self._unknown_pools: frozenset[ObjectKey] = frozenset()
        self._collectors: Sequence[Collector] = (
            *self.observing.collectors(),
            BillCollector(self.bills),
        )

    @property
    def may_hold(self) -> bool:
        """Whether requests are to wait by the configuration: see `FlowControlSettings.enabled`."""
        enabled = self._config.picker.flow_control.enabled
        scheduling = self.scheduling
        return scheduling.flow is not None or scheduling.clocked if enabled is None else enabled

    def hold(self, alarm: Alarm) -> FlowDirector | ReferenceFlowDirector:
        """Have requests wait; before any pool is there, and before `record`.

        They do as the scheduling's own flow control says, where it has one, else until an endpoint can begin them.

        `alarm` is to have what is returned rung.
        """
        self._directing = replace(self._directing, holds=True)
        inner, store = self._inner, self._store
        flow: FlowDirector | ReferenceFlowDirector
        if self.scheduling.flow is not None:
            flow = ReferenceFlowDirector(inner, self.directors, store, self._as_reference(), alarm, self._clock)
            if self._config.telemetry.reference_names:
                self._collectors = (*self._collectors, ReferenceFlowCollector(flow.counts, flow.gauges))
        else:
            given = self._config.picker.flow_control
            budget = Budget(given.max_requests, given.max_bytes)
            empty = given.max_wait_seconds if given.no_endpoint_seconds is None else given.no_endpoint_seconds
            settings = FlowSettings(
                given.max_wait_seconds,
                empty,
                budget,
                given.weights or {},
                given.band_shares or {},
                given.preempt,
                {name: TenantBudget(each.amount, each.of_pool) for name, each in (given.budgets or {}).items()},
                given.over_budget == "wait",
            )
            own = flow = FlowDirector(inner, self.directors, settings, alarm, self._clock, self.bills)
            self._collectors = (*self._collectors, FlowCollector(lambda: own.flows))
        self._outermost = self.flow = flow
        store.on_observation(lambda: flow.stir(self._clock()))
        return flow

    def fall_back(self, alarm: Alarm) -> FallbackDirector | None:
        """Have requests go elsewhere where the configuration says so, None where it does not; after `hold`.

        `alarm` is to have what is returned rung.
        """
        targets = _targets(self._config)
        if not targets:
            return None
        inner, store = self._outermost, self._store
        self._fallback = fallback = FallbackDirector(
            inner, self.directors, store, self.flow, targets, alarm, self._clock
        )
        self._collectors = (*self._collectors, FallbackCollector(fallback.books))
        self._outermost = fallback
        return fallback

    def shadow(self) -> ShadowSending | None:
        """Have a candidate get copies of requests where the configuration says so, None where it does not.

        After all others that stand around the director.
        """
        shadows = self._config.picker.shadow
        if not shadows:
            return None
        sending = ShadowSending(self._outermost, shadows, self._scrape, self._store, self._clock)
        self._outermost, self._shadow = sending.director, sending
        self._exchanging = self._exchanged_by(self.scheduling)
        return sending

    def tell_time_by(self, wall: Callable[[], float]) -> None:
        """Have the time of the day, Unix seconds, from `wall`; before any pool is there."""
        self._directing = replace(self._directing, wall=wall)

    def record(self, recorder: Recorder) -> None:
        """Tell `recorder` of every request from now on."""
        self._outermost = RecordedDirector(self._outermost, recorder, KnownAdapters(self._store))

    @property
    def director(self) -> Director:
        """What exchanges ask."""
        return self._outermost

    def pages(self) -> dict[str, DebugPage]:
        """The documents under `/debug/`."""
        return self.observing.pages() | ({} if self._shadow is None else self._shadow.pages())

    def finders(self) -> dict[str, DebugFinder]:
        """The documents under `/debug/` that have names of their own."""
        return {**self.observing.finders(), "bill": self._bill}

    def _bill(self, name: str) -> object | None:
        """The bill of the last seconds, which `name` is, as accounts were settled last."""
        seconds, now = asked_seconds(name), self._clock()
        if seconds is None:
            return None
        return bill_document(self.bills.by_pool(), seconds, now, wall_of(now, datetime.now(UTC)))

    def keep_sheets(self, keep: Callable[[InputSheet], None]) -> None:
        """Tell `keep` of every sheet of picks that is full, or left by its pool, from now on."""
        self._closed = keep

    def new_exchange(self) -> Exchange:
        """An exchange by what is in force now; it keeps to it until its end."""
        return Exchange(self._exchanging, self._outermost, self._rng)

    def change(self, scheduling: PickerConfig) -> None:
        """Schedule by this from the next request on. Raises `ConfigError`, and changes nothing, where it cannot."""
        self._exchanging = self._exchanged_by(scheduling)
        self.scheduling = scheduling
        self.directors.configure(scheduling)
        if isinstance(self.flow, ReferenceFlowDirector):
            self.flow.configure(self._as_reference(), self._clock())

    def _scrape(self) -> ScrapeSettings:
        return scraping(self._config.scrape, self.scheduling.scraping)

    def _exchanged_by(self, scheduling: PickerConfig) -> ExchangeSettings:
        made = _exchange_settings(self._config, scheduling)
        return made if self._shadow is None else replace(made, sent=self._shadow.director.sent)

    def rekey(self, keys: Mapping[str, TokenKeys]) -> None:
        """Sign and read session tokens with `keys` from the next request on."""
        self.scheduling = replace(self.scheduling, session_keys=keys)
        self.directors.configure(self.scheduling)

    def sync(self, state: DiscoveryState) -> None:
        """Have a director for each pool of `state`."""
        self.directors.sync(state)
        self.bills.sync(state, self._clock())
        if self.flow is not None:
            self.flow.sync(self._clock())
        renaming = [each for each in state.rollouts if each.old.model is not None or each.new.model is not None]
        if state.rewrites or renaming:
            _LOG.info(_REWRITES_NOTE, extra={"fields": {"rewrites": len(state.rewrites) + len(renaming)}})
        if self._fallback is not None:
            self._note_unknown(frozenset(each.key for each in state.pools))

    def _note_unknown(self, pools: frozenset[ObjectKey]) -> None:
        """Say which pools of `picker.fallback` there are not, when these are others than before."""
        fallbacks = self._config.picker.fallback or {}
        named = {*fallbacks, *(each.pool or own for own, listed in fallbacks.items() for each in listed)}
        unknown = frozenset(named - pools)
        if unknown and unknown != self._unknown_pools:
            fields = {"pools": ", ".join(sorted(map(str, unknown)))}
            _LOG.warning("picker.fallback names pools that there are not", extra={"fields": fields})
        self._unknown_pools = unknown

    def _as_reference(self) -> ReferenceFlowControl:
        settings = self.scheduling.flow
        if settings is None:
            raise ValueError("the scheduling does not say that requests wait")
        return ReferenceFlowControl(settings, self.scheduling.agent_headers, self._config.scrape.interval_seconds)

    def _director(self, pool: ObjectKey) -> PoolDirector:
        return PoolDirector(pool, self.scheduling, self._store, self._rng, self._directing, self._closed)
