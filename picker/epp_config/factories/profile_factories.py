"""Factories of pickers, profile handlers and admitters."""

from collections.abc import Callable, Mapping

from picker.epp_config.parameters import Given, Parameters
from picker.scheduling.admitters import LatencyObjectiveAdmitter, ProbabilisticAdmitter
from picker.scheduling.pickers import MaxScorePicker, PowerOfTwoPicker, RandomPicker, WeightedRandomPicker
from picker.scheduling.plugin import Admitter, Picker
from picker.scheduling.scheduler import HeaderProfileHandler, SingleProfileHandler
from picker.scheduling.stages import ProfileHandler

DEFAULT_PICKER = "max-score-picker"
DEFAULT_HANDLER = "single-profile-handler"


def _maximum(given: Given) -> int:
    return given.read("maxNumOfEndpoints").integer("maxNumOfEndpoints", 1, 1)


def _max_score(given: Given) -> Picker:
    return MaxScorePicker(_maximum(given))


def _weighted_random(given: Given) -> Picker:
    return WeightedRandomPicker(_maximum(given))


def _random(given: Given) -> Picker:
    return RandomPicker(_maximum(given))


def _power_of_two(given: Given) -> Picker:
    parameters = given.read("choices", "maxNumOfEndpoints")
    return PowerOfTwoPicker(parameters.integer("choices", 2, 1), parameters.integer("maxNumOfEndpoints", 1, 1))


def _single_profile(given: Given) -> ProfileHandler:
    given.nothing()
    return SingleProfileHandler()


def _header_profile(given: Given) -> ProfileHandler:
    parameters, default = given.read("headerName", "defaultProfile"), HeaderProfileHandler()
    header = parameters.text("headerName", default.header).lower()
    return HeaderProfileHandler(header, parameters.text("defaultProfile", default.default))


def _probabilistic(given: Given) -> Admitter:
    parameters = given.read("queueDepthThreshold", "kvCacheUtilThreshold", "power", "k")
    return ProbabilisticAdmitter(
        _optional(parameters, "queueDepthThreshold"),
        _optional(parameters, "kvCacheUtilThreshold"),
        power=parameters.positive("power", 5.0),
        k=parameters.positive("k", 300.0),
    )


def _latency_objective(given: Given) -> Admitter:
    given.read("latencyPredictionInfoProducerName")
    return LatencyObjectiveAdmitter()


def _optional(parameters: Parameters, name: str) -> float | None:
    return None if parameters.get(name) is None else parameters.positive(name, 1.0)


PICKERS: Mapping[str, Callable[[Given], Picker]] = {
    DEFAULT_PICKER: _max_score,
    "weighted-random-picker": _weighted_random,
    "random-picker": _random,
    "power-of-two-picker": _power_of_two,
}
HANDLERS: Mapping[str, Callable[[Given], ProfileHandler]] = {
    DEFAULT_HANDLER: _single_profile,
    "header-profile-handler": _header_profile,
}
ADMITTERS: Mapping[str, Callable[[Given], Admitter]] = {
    "latency-slo-admitter": _latency_objective,
    "probabilistic-admitter": _probabilistic,
}
