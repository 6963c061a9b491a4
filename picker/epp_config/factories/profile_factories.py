"""Factories of pickers, profile handlers and admitters."""

from collections.abc import Callable, Mapping

from picker.epp_config.parameters import Given, plain, positive
from picker.scheduling.admitters import LatencyObjectiveAdmitter, ProbabilisticAdmitter
from picker.scheduling.pickers import MaxScorePicker, PowerOfTwoPicker, RandomPicker, WeightedRandomPicker
from picker.scheduling.scheduler import HeaderProfileHandler, SingleProfileHandler
from picker.scheduling.stages import Admitter, Picker, ProfileHandler

DEFAULT_PICKER = "max-score-picker"
DEFAULT_HANDLER = "single-profile-handler"


def _up_to(build: Callable[[int], Picker]) -> Callable[[Given], Picker]:
    return lambda given: build(given.read("maxNumOfEndpoints").integer("maxNumOfEndpoints", 1, 1))


def _power_of_two(given: Given) -> Picker:
    parameters = given.read("choices", "maxNumOfEndpoints")
    return PowerOfTwoPicker(parameters.integer("choices", 2, 1), parameters.integer("maxNumOfEndpoints", 1, 1))


def _header_profile(given: Given) -> ProfileHandler:
    parameters, default = given.read("headerName", "defaultProfile"), HeaderProfileHandler()
    header = parameters.text("headerName", default.header).lower()
    return HeaderProfileHandler(header, parameters.text("defaultProfile", default.default))


def _probabilistic(given: Given) -> Admitter:
    parameters = given.read("queueDepthThreshold", "kvCacheUtilThreshold", "power", "k")
    return ProbabilisticAdmitter(
        parameters.get_as("queueDepthThreshold", positive, None),
        parameters.get_as("kvCacheUtilThreshold", positive, None),
        power=parameters.positive("power", 5.0),
        k=parameters.positive("k", 300.0),
    )


PICKERS: Mapping[str, Callable[[Given], Picker]] = {
    DEFAULT_PICKER: _up_to(MaxScorePicker),
    "weighted-random-picker": _up_to(WeightedRandomPicker),
    "random-picker": _up_to(RandomPicker),
    "power-of-two-picker": _power_of_two,
}
HANDLERS: Mapping[str, Callable[[Given], ProfileHandler]] = {
    DEFAULT_HANDLER: plain(SingleProfileHandler),
    "header-profile-handler": _header_profile,
}
ADMITTERS: Mapping[str, Callable[[Given], Admitter]] = {
    "latency-slo-admitter": plain(LatencyObjectiveAdmitter, "latencyPredictionInfoProducerName"),
    "probabilistic-admitter": _probabilistic,
}
