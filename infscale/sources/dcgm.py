"""GPU memory and utilisation per endpoint, from dcgm-exporter pages.

An exporter names the pod each GPU belongs to; a sample adds up the GPUs of an endpoint's pod. Memory is published in
MiB, utilisation in percent; MIG slices have no utilisation of their own and publish the ratio of time their graphics
engine was active instead.
"""

import math
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from yarl import URL

from infscale.backoff import Backoff
from infscale.endpoint import Endpoint, EndpointKey, ObjectKey
from infscale.metrics.exposition import Labels, Selection
from infscale.metrics.sample import GpuSample
from infscale.periodic import (
    Clock,
    FetchError,
    Outcome,
    Pace,
    Rounds,
    ScrapeHealth,
    TaskSet,
    hash_fraction,
    repeat,
)
from infscale.scrape.fetch import PAGE_LIMIT_BYTES, PageClient

if TYPE_CHECKING:
    import random

USED = "DCGM_FI_DEV_FB_USED"
FREE = "DCGM_FI_DEV_FB_FREE"
RESERVED = "DCGM_FI_DEV_FB_RESERVED"
TOTAL = "DCGM_FI_DEV_FB_TOTAL"
UTILIZATION = "DCGM_FI_DEV_GPU_UTIL"
ENGINE_ACTIVE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
NAMES = (USED, FREE, RESERVED, TOTAL, UTILIZATION, ENGINE_ACTIVE)

# Namespace and pod by who wrote the labels. A Prometheus that keeps its own labels puts the exporter's pod under the
# plain names and the GPU's pod under the exported ones, so those come first.
_POD_LABELS = (
    ("exported_namespace", "exported_pod"),
    ("namespace", "pod"),
    ("pod_namespace", "pod_name"),
)
_GPU_LABELS = (("UUID", "uuid"), ("hostname", "Hostname"), ("gpu",), ("GPU_I_ID",))
_MIG_LABEL = "GPU_I_PROFILE"

_MIB = 1024.0 * 1024.0
# DCGM's blank, not found, not supported and no permission, as int32 and as fp64; the int64 ones are beyond any value.
_BLANKS = frozenset(map(float, (*range(2147483632, 2147483636), *range(140737488355328, 140737488355332))))
_BLANK_FROM = 9.2e18


class GpuSink(Protocol):
    """Takes GPU samples; `at` is the monotonic second the scrape started at. Must not block."""

    def record_gpu(self, key: EndpointKey, sample: GpuSample, at: float) -> None:
        """Take one sample of the GPUs of the endpoint `key`."""
        ...


@dataclass(frozen=True, slots=True)
class DcgmTarget:
    """One dcgm-exporter; it refreshes its own values every 30 s by default."""

    url: str
    interval_seconds: float = 10.0
    timeout_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("a target's URL starts with http:// or https://")
        if not 0 < self.timeout_seconds < self.interval_seconds < math.inf:
            raise ValueError("a target needs 0 < timeout_seconds < interval_seconds")

    @property
    def name(self) -> str:
        """The address without what may be a secret in it: user, password and query."""
        parts = urllib.parse.urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


class _Gpu:
    """What one page says of one GPU or MIG slice; values by sample name."""

    __slots__ = ("mig", "values")

    def __init__(self, mig: bool) -> None:
        self.mig = mig
        self.values: dict[str, float] = {}

    def used_bytes(self) -> float:
        return self.values.get(USED, math.nan) * _MIB

    def total_bytes(self) -> float:
        """The published total or the sum of its parts; an exporter without a reserved part counts that as used."""
        values = self.values
        parts = values.get(USED, math.nan) + values.get(FREE, math.nan) + values.get(RESERVED, 0.0)
        return values.get(TOTAL, parts) * _MIB

    def utilization_ratio(self) -> float:
        active = self.values.get(ENGINE_ACTIVE, math.nan)
        return active if self.mig else self.values.get(UTILIZATION, active * 100.0) / 100.0


class DcgmReader:
    """Turns exporter pages into one sample per pod."""

    def __init__(self) -> None:
        self._selection = Selection(NAMES)

    def read(self, page: bytes, *, whole: bool = True) -> dict[ObjectKey, GpuSample]:
        """Samples by pod; GPUs that belong to no pod are left out.

        A value that is missing for one GPU of a pod is unknown for the pod, except utilisation, which is the mean over
        the GPUs that publish it. Raises ExpositionError for a malformed or truncated page or one without GPU memory.
        """
        columns = self._selection.read(page, whole=whole).columns
        if not columns[USED].values and not columns[TOTAL].values:
            raise FetchError("no dcgm metrics on the page")
        pods: dict[ObjectKey, dict[tuple[str, ...], _Gpu]] = {}
        for name, column in columns.items():
            for labels, value in zip(column.labels, column.values, strict=True):
                pod = _pod(labels)
                if pod is None or _blank(value):
                    continue
                identity = tuple(_first(labels, spellings) for spellings in _GPU_LABELS)
                gpu = pods.setdefault(pod, {}).setdefault(identity, _Gpu(bool(labels.get(_MIG_LABEL))))
                gpu.values[name] = value
        return {pod: _sample(list(gpus.values())) for pod, gpus in pods.items()}


class DcgmSource:
    """Scrapes exporters while its context is open and hands samples of known endpoints to the sink.

    An endpoint is recognised by its pod; all ranks of a pod share its GPUs.
    """

    def __init__(self, sink: GpuSink, clock: Clock, rng: "random.Random") -> None:
        self._sink = sink
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(base_seconds=1.0, factor=2.0, cap_seconds=30.0)
        self._rounds: dict[str, Rounds] = {}
        self._endpoints: Mapping[ObjectKey, tuple[EndpointKey, ...]] = {}
        self._tasks: TaskSet[str, DcgmTarget] = TaskSet(self._run)

    async def __aenter__(self) -> "DcgmSource":
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, traceback)

    def sync(self, targets: Iterable[DcgmTarget], endpoints: Iterable[Endpoint]) -> None:
        """Scrape exactly `targets`, and record samples for exactly `endpoints`."""
        pods: dict[ObjectKey, tuple[EndpointKey, ...]] = {}
        for endpoint in endpoints:
            pods[endpoint.key.pod] = (*pods.get(endpoint.key.pod, ()), endpoint.key)
        self._endpoints = pods
        wanted = {target.url: target for target in targets}
        for url in self._rounds.keys() - wanted.keys():
            del self._rounds[url]
        for url in wanted.keys() - self._rounds.keys():
            # Nobody waits for a failure here: a GPU sample grows old and then is unknown.
            self._rounds[url] = Rounds(wanted[url].name, self._clock, lambda _cause, _at: None)
        self._tasks.sync(wanted)

    def health(self) -> dict[str, ScrapeHealth]:
        """How scraping each exporter goes, by the targets' names."""
        return {rounds.name: rounds.health for rounds in self._rounds.values()}

    async def _run(self, target: DcgmTarget) -> None:
        rounds, reader = self._rounds[target.url], DcgmReader()
        url = URL(target.url)
        pages = PageClient(url, PAGE_LIMIT_BYTES)

        async def observe(started: float) -> int:
            page = await pages.get(url.raw_path_qs)
            for pod, sample in reader.read(page.body, whole=page.whole).items():
                for key in self._endpoints.get(pod, ()):
                    self._sink.record_gpu(key, sample, started)
            return len(page.body)

        async def step() -> Outcome:
            return await rounds.run(observe, target.timeout_seconds)

        fraction = hash_fraction(target.url)
        try:
            await repeat(step, Pace(lambda: target.interval_seconds, fraction, self._backoff, self._clock, self._rng))
        finally:
            pages.close()


def _pod(labels: Labels) -> ObjectKey | None:
    for namespace, pod in _POD_LABELS:
        if labels.get(namespace) and labels.get(pod):
            return ObjectKey(labels[namespace], labels[pod])
    return None


def _first(labels: Labels, spellings: tuple[str, ...]) -> str:
    return next((labels[spelling] for spelling in spellings if labels.get(spelling)), "")


def _blank(value: float) -> bool:
    return not 0.0 <= value < _BLANK_FROM or value in _BLANKS


def _sample(gpus: list[_Gpu]) -> GpuSample:
    ratios = [ratio for gpu in gpus if not math.isnan(ratio := gpu.utilization_ratio())]
    return GpuSample(
        memory_used_bytes=_known(sum(gpu.used_bytes() for gpu in gpus)),
        memory_total_bytes=_known(sum(gpu.total_bytes() for gpu in gpus)),
        utilization_ratio=sum(ratios) / len(ratios) if ratios else None,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
