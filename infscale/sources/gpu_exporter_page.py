"""What pages of GPU exporters say of the GPUs of each pod, by a row of `infscale.metrics.pages.gpu_exporters`.

MIG slices have no utilisation of their own and publish the ratio of time their graphics engine was active instead. A
GPU that pods share has a series for each of them: the exporter writes what a pod uses, or, in other versions, what the
whole device uses, again for each; what is free and what is reserved is always the device's. A series without a pod is
the device's own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain

from infscale.endpoint import ObjectKey
from infscale.metrics.pages.bounds import ratio
from infscale.metrics.pages.exposition import Labels, Selection, SeriesColumns
from infscale.metrics.pages.gpu_exporters import GPU_EXPORTERS, RATIOS, GpuExporter, GpuName, GpuQuantity
from infscale.metrics.sample import GpuSample, GpuShare
from infscale.periodic import FetchError
from infscale.sources.gpu_samples import UNPUBLISHED, gpu_sample

_BLANK_FROM = 9.2e18

_Identity = tuple[str, ...]
_Values = dict[GpuQuantity, float]
"""Bytes and ratios; blank ones are left out."""
_Gathered = dict[str, _Values]
"""What is said of one pod, by its containers."""
_Parts = dict[GpuQuantity, dict[str, float]]
"""Values by the parts of a GPU they are of."""
_Place = tuple[_Identity, ObjectKey | None, str]
"""A GPU, the pod that a series is of (None: none) and its container."""


class _Device:
    """What one page says of one GPU or MIG slice: in series without a pod, and in those of each pod that holds it.

    Its properties are asked for once the whole page is in.
    """

    def __init__(self, mig: bool, model: str = "") -> None:
        self.mig = mig
        self.model = "" if mig else model
        self.own: _Values = {}
        self.pods: dict[ObjectKey, _Gathered] = {}

    @cached_property
    def used_bytes(self) -> float:
        """All that is used of it. Of pods that show the same, each shows the whole; else they are added up."""
        used = self.own.get("used", math.nan)
        if math.isnan(used):
            used = self._value("total") - self._value("free") - self._value("reserved", 0.0)
        if math.isnan(used):
            used = _together([_used(gathered) for gathered in self.pods.values()])
        return used

    @cached_property
    def total_bytes(self) -> float:
        """The published total or the sum of its parts; an exporter without a reserved part counts that as used."""
        return self._value("total", self.used_bytes + self._value("free") + self._value("reserved", 0.0))

    @cached_property
    def utilization(self) -> float:
        """The share of time it was busy, as far as it is published; it may be no share."""
        own = self._busy(self.own)
        return _busy_together([self._busy_of(pod) for pod in self.pods]) if math.isnan(own) else own

    def share(self, pod: ObjectKey, identity: _Identity) -> GpuShare:
        """See `HeldDevice`."""
        busy = self._busy_of(pod)
        return GpuShare(
            device=identity,
            pods=len(self.pods),
            used_bytes=self._used_by(pod),
            utilization_ratio=self.utilization if math.isnan(busy) else busy,
            device_used_bytes=self.used_bytes,
            total_bytes=self.total_bytes,
            device_utilization_ratio=self.utilization,
        )

    def why(self, pod: ObjectKey, value: str) -> str:
        """See `HeldDevice`."""
        del pod, value
        return UNPUBLISHED

    def _used_by(self, pod: ObjectKey) -> float:
        used = _used(self.pods[pod])
        return self.used_bytes if math.isnan(used) and len(self.pods) == 1 else used

    def _busy_of(self, pod: ObjectKey) -> float:
        return _busy_together([self._busy(values) for values in self.pods[pod].values()])

    def _busy(self, values: Mapping[GpuQuantity, float]) -> float:
        active = values.get("active", math.nan)
        return active if self.mig else values.get("utilization", active)

    def _value(self, name: GpuQuantity, default: float = math.nan) -> float:
        """What is the same for all that hold it."""
        gathered = chain.from_iterable(each.values() for each in self.pods.values())
        return next((values[name] for values in chain((self.own,), gathered) if name in values), default)


class GpuPageReader:
    """Turns pages of the exporter at `source` into one sample per pod; of `exporters` the first that a page is of."""

    def __init__(self, source: str = "", exporters: Sequence[GpuExporter] = GPU_EXPORTERS) -> None:
        self._source = source
        self._exporters = exporters
        self._selection = Selection(
            name.spec.name for each in exporters for names in each.names.values() for name in names
        )

    def read(self, page: bytes, *, whole: bool = True) -> dict[ObjectKey, GpuSample]:
        """Samples by pod; GPUs that belong to no pod are left out.

        A value that is missing for one GPU of a pod is unknown for the pod, except utilisation, which is the mean over
        the GPUs that publish it. Raises ExpositionError for a malformed or truncated page or one without any of it.
        """
        columns = self._selection.read(page, whole=whole).columns
        for exporter in self._exporters:
            chosen = _chosen(exporter, columns)
            if chosen:
                return _samples(_devices(exporter, chosen, columns, self._source))
        raise FetchError(f"no {self._exporters[0].name} metrics on the page, and none of another GPU exporter")


def _chosen(exporter: GpuExporter, columns: Mapping[str, SeriesColumns]) -> dict[GpuQuantity, GpuName]:
    """The names that a page has, one of each quantity."""
    found: dict[GpuQuantity, GpuName] = {}
    for quantity, names in exporter.names.items():
        name = next((name for name in names if len(columns[name.spec.name])), None)
        if name is not None:
            found[quantity] = name
    return found


def _devices(
    exporter: GpuExporter,
    chosen: Mapping[GpuQuantity, GpuName],
    columns: Mapping[str, SeriesColumns],
    source: str,
) -> dict[_Identity, _Device]:
    devices: dict[_Identity, _Device] = {}
    said: dict[_Place, _Parts] = {}
    for quantity, name in chosen.items():
        for labels, value in _series(columns[name.spec.name], name):
            pod, container = _pod(exporter, labels), _first(labels, exporter.containers)
            identity = _identity(exporter, labels, source)
            if exporter.per_pod and pod is not None:
                identity += (*pod, container)
            if identity not in devices:
                devices[identity] = _Device(_is_slice(exporter, labels), _first(labels, exporter.models))
            parts = said.setdefault((identity, pod, container), {})
            if _says(exporter, quantity, value):
                part = "" if exporter.part_label is None else labels.get(exporter.part_label, "")
                parts.setdefault(quantity, {})[part] = value / name.per_one
    for (identity, pod, container), parts in said.items():
        values: _Values = {quantity: _of_parts(quantity, of_parts) for quantity, of_parts in parts.items()}
        device = devices[identity]
        if pod is None:
            device.own |= values
        else:
            device.pods.setdefault(pod, {}).setdefault(container, {}).update(values)
    return devices


def _series(column: SeriesColumns, name: GpuName) -> Iterator[tuple[Labels, float]]:
    for labels, value in zip(column.labels, column.values, strict=True):
        if name.spec.matches(labels):
            yield labels, value


def _is_slice(exporter: GpuExporter, labels: Labels) -> bool:
    return exporter.slice_label is not None and bool(labels.get(exporter.slice_label))


def _identity(exporter: GpuExporter, labels: Labels, source: str) -> _Identity:
    """What tells a GPU from all others, also from those of other exporters."""
    identity = tuple([_first(labels, spellings) for spellings in exporter.identity])
    return identity if identity[0] or identity[1] else (source, *identity)


def _pod(exporter: GpuExporter, labels: Labels) -> ObjectKey | None:
    for namespace, pod in exporter.pods:
        if labels.get(namespace) and labels.get(pod):
            return ObjectKey(labels[namespace], labels[pod])
    return None


def _first(labels: Labels, spellings: tuple[str, ...]) -> str:
    return next((labels[spelling] for spelling in spellings if labels.get(spelling)), "")


def _says(exporter: GpuExporter, quantity: GpuQuantity, value: float) -> bool:
    """Whether a value is one, or a ratio that is said and is no share."""
    if exporter.per_pod and quantity == "total" and value == 0.0:
        return False
    blank = not 0.0 <= value < _BLANK_FROM or value in exporter.blanks
    return not blank or (quantity in RATIOS and _no_ratio(value))


def _no_ratio(value: float) -> bool:
    """Whether it is said, and no share: less than none (-1 stands for nothing in some versions), or without end."""
    return value == math.inf or (value < 0.0 and value != -1.0)


def _of_parts(quantity: GpuQuantity, parts: Mapping[str, float]) -> float:
    values = list(parts.values())
    if quantity not in RATIOS:
        return math.fsum(values)
    wrong = next((each for each in values if ratio(each) is None), None)
    return sum(values) / len(values) if wrong is None else wrong


def _used(gathered: _Gathered) -> float:
    return _together([values.get("used", math.nan) for values in gathered.values()])


def _together(parts: Sequence[float]) -> float:
    """What each of the pods that share a GPU has of it: the whole where all show the same, else what each shows."""
    return parts[0] if len(set(parts)) == 1 else math.fsum(parts)


def _busy_together(parts: Sequence[float]) -> float:
    """As `_together`, of shares of time; where one of them is no share, that one."""
    wrong = next((each for each in parts if ratio(each) is None), None)
    return min(1.0, _together(parts)) if wrong is None else wrong


def _samples(devices: Mapping[_Identity, _Device]) -> dict[ObjectKey, GpuSample]:
    held: dict[ObjectKey, list[tuple[_Identity, _Device]]] = {}
    for identity, device in devices.items():
        for pod in device.pods:
            held.setdefault(pod, []).append((identity, device))
    return {pod: gpu_sample(pod, of_pod) for pod, of_pod in held.items()}
