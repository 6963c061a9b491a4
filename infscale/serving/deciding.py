"""The part that decides about requests: directors by the scheduling in force, and what is counted of them."""

import logging
import random
from collections.abc import Callable

from infscale.client_headers import ignored
from infscale.config.settings import ServeConfig
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.metrics.store.metrics_store import MetricStore
from infscale.serving.observing import Observing
from infscale.serving.parts import Part
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.directing.pool_directors import PoolDirectors
from picker.directing.recorded_director import RecordedDirector, Recorder
from picker.directing.served_models import Listed
from picker.epp_config.loader import PickerConfig
from picker.explaining.input_sheet import InputSheet
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.parsing import ParserTable
from picker.request import PromptDirector

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


class Deciding(Part):
    """Makes directors and exchanges; guards the scheduling in force, which changes between requests only."""

    def __init__(
        self,
        config: ServeConfig,
        scheduling: PickerConfig,
        store: MetricStore,
        clock: Callable[[], float],
        rng: random.Random,
        lists: Listed | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._rng = rng
        self._directing = DirectorSettings(
            unknown_models=config.picker.unknown_models,
            lists=lists,
            emit_scores=config.picker.emit_endpoint_scores,
            trusted_headers=frozenset(config.picker.trusted_headers),
            unknown_objectives=config.picker.unknown_objectives,
            unknown_load=config.picker.unknown_load,
            explained=config.picker.explain.picks,
        )
        self._closed: Callable[[InputSheet], None] | None = None
        self.scheduling = scheduling
        self._exchanging = _exchange_settings(config, scheduling)
        self.directors = PoolDirectors(self._director, config.picker.pool, store)
        names = config.telemetry.reference_names
        self.observing = Observing(self.directors, store, clock, reference_names=names)
        self._outermost: PromptDirector = self.observing.director
        self._collectors = tuple(self.observing.collectors())

    def record(self, recorder: Recorder) -> None:
        """Tell `recorder` of every request from now on."""
        self._outermost = RecordedDirector(self._outermost, recorder)

    def keep_sheets(self, keep: Callable[[InputSheet], None]) -> None:
        """Tell `keep` of every sheet of picks that is full, or left by its pool, from now on."""
        self._closed = keep

    def new_exchange(self) -> Exchange:
        """An exchange by what is in force now; it keeps to it until its end."""
        return Exchange(self._exchanging, self._outermost, self._rng)

    def change(self, scheduling: PickerConfig) -> None:
        """Schedule by this from the next request on. Raises `ConfigError`, and changes nothing, where it cannot."""
        self._exchanging = _exchange_settings(self._config, scheduling)
        self.scheduling = scheduling
        self.directors.configure(scheduling)

    def sync(self, state: DiscoveryState) -> None:
        """Have a director for each pool of `state`."""
        self.directors.sync(state)
        if state.rewrites:
            _LOG.info(_REWRITES_NOTE, extra={"fields": {"rewrites": len(state.rewrites)}})

    def _director(self, pool: ObjectKey) -> PoolDirector:
        return PoolDirector(pool, self.scheduling, self._store, self._rng, self._directing, self._closed)
