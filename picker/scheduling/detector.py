"""Saturation detectors of an `EndpointPickerConfig`, translated into the core's one meaning of "saturated"."""

from dataclasses import dataclass

from infscale.document import Field
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from picker.scheduling.registry import Parameters

DEFAULT_DETECTOR = "utilization-detector"

_MODES = {
    "requests": SaturationKind.REQUESTS,
    "tokens": SaturationKind.TOKENS,
    "hybrid": SaturationKind.HYBRID,
}


@dataclass(frozen=True, slots=True)
class Detector:
    """A saturation detector in the core's terms; `place` and `path` are where it is declared.

    `staleness_limit_seconds` None: the detector says nothing about it.
    """

    place: str
    path: str
    saturation: SaturationSettings
    staleness_limit_seconds: float | None


def headroom(parameters: Field | None) -> float:
    """How far above saturation a detector used as a filter still lets endpoints pass (0.2: 20 %)."""
    given = parameters.entries().get("headroom") if parameters is not None else None
    return 0.0 if given is None else given.number(0.0)


def read_detector(kind: str, parameters: Field | None, declared: Field) -> Detector:
    """The detector of type `kind` with these parameters. Raises `ConfigError`."""
    headroom(parameters)
    if kind == DEFAULT_DETECTOR:
        return _utilization(parameters, declared)
    return Detector(declared.place, declared.path, _concurrency(parameters), None)


def _utilization(field: Field | None, declared: Field) -> Detector:
    given = Parameters(field, "queueDepthThreshold", "kvCacheUtilThreshold", "metricsStalenessThreshold", "headroom")
    utilization = given.positive("kvCacheUtilThreshold", 0.8)
    threshold = given.get("kvCacheUtilThreshold")
    if threshold is not None and utilization > 1:
        threshold.refuse("expected a ratio, at most 1")
    staleness = given.get("metricsStalenessThreshold")
    limit = None if staleness is None else staleness.duration()
    if staleness is not None and not limit:
        staleness.refuse("expected a duration above 0")
    settings = SaturationSettings(
        queue_depth_threshold=given.positive("queueDepthThreshold", 5.0), kv_utilization_threshold=utilization
    )
    return Detector(declared.place, declared.path, settings, limit)


def _concurrency(field: Field | None) -> SaturationSettings:
    given = Parameters(field, "concurrencyMode", "maxConcurrency", "maxTokenConcurrency", "headroom")
    mode = given.get("concurrencyMode")
    return SaturationSettings(
        kind=_MODES["requests" if mode is None else mode.choice(tuple(_MODES))],
        max_in_flight_requests=given.positive("maxConcurrency", 100.0),
        max_in_flight_tokens=given.positive("maxTokenConcurrency", 1_000_000.0),
    )
