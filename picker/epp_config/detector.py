"""Saturation detectors of an `EndpointPickerConfig`, translated into the core's one meaning of "saturated"."""

from dataclasses import dataclass

from infscale.metrics.saturation import SaturationKind, SaturationSettings
from picker.epp_config.parameters import Given, positive_duration

DEFAULT_DETECTOR = "utilization-detector"

_PRODUCER = "inFlightLoadProducerName"
_MODES = ("requests", "tokens", "hybrid")


@dataclass(frozen=True, slots=True)
class Detector:
    """A saturation detector in the core's terms; `place` and `path` are where it is declared.

    `staleness_limit_seconds` None: the detector says nothing about it.
    """

    place: str
    path: str
    saturation: SaturationSettings
    staleness_limit_seconds: float | None


def headroom(given: Given) -> float:
    """How far above saturation a detector used as a filter still lets endpoints pass (0.2: 20 %)."""
    found = given.parameters.entries().get("headroom") if given.parameters is not None else None
    return 0.0 if found is None else found.number(0.0)


def read_detector(kind: str, given: Given) -> Detector:
    """The detector of type `kind` with these parameters. Raises `ConfigError`."""
    headroom(given)
    if kind == DEFAULT_DETECTOR:
        return _utilization(given)
    return Detector(given.declared.place, given.declared.path, _concurrency(given), None)


def _utilization(given: Given) -> Detector:
    parameters = given.read(
        "queueDepthThreshold", "kvCacheUtilThreshold", "metricsStalenessThreshold", "headroom", _PRODUCER
    )
    utilization = parameters.positive("kvCacheUtilThreshold", 0.8)
    threshold = parameters.get("kvCacheUtilThreshold")
    if threshold is not None and utilization > 1:
        threshold.refuse("expected a ratio, at most 1")
    limit = parameters.get_as("metricsStalenessThreshold", positive_duration, None)
    settings = SaturationSettings(
        queue_depth_threshold=parameters.positive("queueDepthThreshold", 5.0), kv_utilization_threshold=utilization
    )
    return Detector(given.declared.place, given.declared.path, settings, limit)


def _concurrency(given: Given) -> SaturationSettings:
    parameters = given.read("concurrencyMode", "maxConcurrency", "maxTokenConcurrency", "headroom", _PRODUCER)
    return SaturationSettings(
        kind=SaturationKind(parameters.one_of("concurrencyMode", _MODES, "requests")),
        max_in_flight_requests=parameters.positive("maxConcurrency", 100.0),
        max_in_flight_tokens=parameters.positive("maxTokenConcurrency", 1_000_000.0),
    )
