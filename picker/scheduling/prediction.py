"""How long endpoints will take for a request, worked out of what the store knows of each; no model is trained.

Where the model of an endpoint's steps is usable, the time to the first token is what it says of the prompts that are
ahead and of this one's uncached tokens beside the batch of the moment. Prompts that wait for longer than the model says
wait for something else, a seat in the batch or room in the KV cache: then it is the queue over the rate at which
requests leave it (Little's law), if that is more.

Without a usable model the time is that of the queue and of prefill, which is the prompt's uncached tokens at what the
endpoint lately took for one; where it is not known whether any request leaves, nothing is predicted. Requests that were
sent to an endpoint and that it does not report yet are ahead of this one.

The time per output token is the endpoint's own of late, which has the prompts in it that are computed beside. All are
of the endpoint they speak of, so that pools of unlike hardware need nothing said about them.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from infscale.frozen_values import entity
from infscale.latency.predictions import time_to_first_token
from infscale.memo import MemoKey
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import BoolArray, IntArray, PoolSnapshot
from infscale.metrics.windows.model_table import LEAVING, PREFILL, STATISTIC_CELLS, WAITING_SINCE, cells
from picker.request import Headers
from picker.scheduling.plugin import SchedulingContext

TTFT_HEADERS = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")
TPOT_HEADERS = ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms")
"""Headers in which a request says what it wants, milliseconds; of the two spellings the first counts."""

USUAL_PREFILL_THROUGHPUT = 15_928.0
"""Prompt tokens per second where no endpoint of the pool has computed any lately."""

_FOR_EVER_SECONDS = 1e9
_LATE_SECONDS = 0.5
_PER_OUTPUT_TOKEN = STATISTIC_CELLS["inter_token_latency", "mean"]

READ_CELLS: Final = (LEAVING, WAITING_SINCE, PREFILL, _PER_OUTPUT_TOKEN)
"""The cells of all models together that predictions are made of."""


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a request wants, seconds; 0 where it does not say."""

    ttft: float
    tpot: float

    @classmethod
    def of(cls, headers: Headers) -> "Objectives":
        """Those in `headers`. What is no number of milliseconds above 0 says nothing."""
        return cls(_milliseconds(headers, TTFT_HEADERS) / 1e3, _milliseconds(headers, TPOT_HEADERS) / 1e3)


@entity
class Prediction:
    """Seconds per candidate, NaN where nothing is known.

    Headroom is what an objective of the request leaves, negative where it will be missed. A request that states one
    objective has headroom 0 of the other; one that states none has at most 0 of both, the less the longer it takes.
    `tpot_headroom` is 0 too where output tokens do not count; else it is what the tightest objective leaves, the
    request's or that of one which is on the endpoint already.
    """

    ttft: FloatArray
    ttft_headroom: FloatArray
    tpot_headroom: FloatArray
    stated: bool

    def only(self, rows: IntArray) -> "Prediction":
        """What it says of some candidates, by their places."""
        return Prediction(self.ttft[rows], self.ttft_headroom[rows], self.tpot_headroom[rows], self.stated)

    @property
    def known(self) -> BoolArray:
        """Where all that the request asks about is predicted."""
        return ~(np.isnan(self.ttft_headroom) | np.isnan(self.tpot_headroom))

    @property
    def meets(self) -> BoolArray:
        """Where what the request states will be met; nowhere if it states nothing."""
        met: BoolArray = self.stated & (self.ttft_headroom >= 0) & (self.tpot_headroom >= 0)
        return met


PREDICTION: Final = MemoKey[Prediction]("prediction")
"""What every row will take for the request, once a stage of its decision has asked."""


def predict(context: SchedulingContext, rows: IntArray) -> Prediction | None:
    """What `rows` will take for the request; None where predictions are switched off."""
    if not context.predicting.enabled:
        return None
    everywhere = context.derived.get(PREDICTION)
    if everywhere is None:
        everywhere = context.derived.keep(PREDICTION, _everywhere(context))
    return everywhere.only(rows)


def time_per_token(snapshot: PoolSnapshot) -> FloatArray:
    """Seconds per output token of every row of late, of one that does not say so the median of those that do."""
    return _or_usual(cells(snapshot.columns.by_model, None, _PER_OUTPUT_TOKEN, len(snapshot)), math.nan)


def _everywhere(context: SchedulingContext) -> Prediction:
    """What every row will take: stages ask one after the other, each about what the one before has left."""
    snapshot, settings = context.snapshot, context.predicting
    wanted = Objectives.of(context.request.headers)
    unreported = _unreported(snapshot)
    ttft = _first_token(context, unreported)
    tpot = time_per_token(snapshot)
    ttft_headroom, tpot_headroom = wanted.ttft - ttft, np.zeros(len(snapshot))
    if settings.streaming and wanted.tpot:
        # Requests in one batch get their tokens in the same steps: the promises of all of them bind.
        tpot_headroom = np.minimum(wanted.tpot, context.memory.tightest()) * settings.slo_buffer - tpot
    elif settings.streaming and not wanted.ttft:
        # Nothing is asked of it: where it is not known, it makes no difference.
        tpot_headroom = np.nan_to_num(-tpot)
    if wanted.tpot and not wanted.ttft:
        # Nothing times nothing, and unknown stays unknown.
        ttft_headroom = ttft_headroom * 0.0
    return Prediction(ttft, ttft_headroom, tpot_headroom, bool(wanted.ttft or wanted.tpot))


def _first_token(context: SchedulingContext, unreported: FloatArray) -> FloatArray:
    """Seconds until the first token."""
    snapshot = context.snapshot
    queue = _waiting(snapshot, unreported, context.now)
    steps, gauges = snapshot.columns.steps, snapshot.columns.gauges
    usable = steps.usable
    lately = np.zeros(len(snapshot)) if usable.all() else queue + _prefill(context, unreported)
    if not usable.any():
        return lately
    uncached = context.request.prompt_tokens - context.prefix.matched_tokens
    batch = np.nan_to_num(gauges.kv_used_tokens), np.nan_to_num(gauges.running) + unreported + 1.0
    alone = time_to_first_token(steps, uncached, 0.0, *batch)
    behind = time_to_first_token(steps, uncached, _ahead(context, unreported), *batch)
    waited = context.now - cells(snapshot.columns.by_model, None, WAITING_SINCE, len(snapshot))
    held = waited > behind - alone + _LATE_SECONDS
    # A queue that is not known to move is not known to be held.
    modelled = np.where(held, np.fmax(behind, queue + alone), behind)
    return np.where(usable, modelled, lately)


def _ahead(context: SchedulingContext, unreported: FloatArray) -> FloatArray:
    """Tokens of the prompts that are to be computed before this one.

    A prompt of which nothing is said is as long as those in flight at the endpoint are on average, without the answers
    that are expected of them, and as this one where none is.
    """
    snapshot, request = context.snapshot, context.request
    gauges, requests = snapshot.columns.gauges, snapshot.in_flight_requests
    mean = snapshot.in_flight_tokens / np.maximum(1.0, requests) - request.output_tokens
    each = np.where(requests > 0, np.maximum(1.0, mean), request.prompt_tokens)
    waiting = np.nan_to_num(gauges.waiting)
    said = np.where(np.isnan(gauges.waiting_tokens), waiting * each, gauges.waiting_tokens)
    return said + unreported * each


def _waiting(snapshot: PoolSnapshot, unreported: FloatArray, now: float) -> FloatArray:
    """Seconds until a request that comes now leaves the queue."""
    table, size = snapshot.columns.by_model, len(snapshot)
    waiting, leaving = snapshot.columns.gauges.waiting, cells(table, None, LEAVING, size)
    # No request leaves: as long as the first has waited, at least.
    stuck = np.maximum(0.0, now - cells(table, None, WAITING_SINCE, size))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        waited = np.where(leaving == 0, stuck, (waiting + unreported) / leaving)
    return np.where(waiting > 0, np.minimum(waited, _FOR_EVER_SECONDS), waiting)


def _prefill(context: SchedulingContext, unreported: FloatArray) -> FloatArray:
    """Seconds of computing the prompt, where nothing waits also prompts like it that were sent just before."""
    snapshot, prompt_tokens = context.snapshot, context.request.prompt_tokens
    per_token = _or_usual(
        cells(snapshot.columns.by_model, None, PREFILL, len(snapshot)), 1.0 / USUAL_PREFILL_THROUGHPUT
    )
    ahead = np.where(snapshot.columns.gauges.waiting > 0, 0.0, unreported) * prompt_tokens
    return (prompt_tokens - context.prefix.matched_tokens + ahead) * per_token


def _unreported(snapshot: PoolSnapshot) -> FloatArray:
    """Requests that were dispatched and that the endpoint does not report yet; 0 where it does not report any."""
    columns = snapshot.columns
    return np.nan_to_num(np.maximum(0.0, snapshot.in_flight_requests - columns.gauges.waiting - columns.gauges.running))


def _or_usual(values: FloatArray, usual: float) -> FloatArray:
    """`values`, the median of the known ones for those that are not, and `usual` where none is."""
    known = values[~np.isnan(values)]
    if len(known) == len(values):
        return values
    return np.where(np.isnan(values), np.median(known) if len(known) else usual, values)


def _milliseconds(headers: Headers, names: tuple[str, ...]) -> float:
    text = next((text for name in names if (text := headers.get(name))), "")
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0.0 < number < math.inf else 0.0
