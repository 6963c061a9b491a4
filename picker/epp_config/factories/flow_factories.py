"""Factories of flow-control policies."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from infscale.documents.strict_document import Field
from picker.epp_config.facts import Facts, FactType, Told
from picker.epp_config.parameters import Given, Parameters, positive
from picker.flow.policies import Ordering
from picker.flow.reference.flow_settings import CeilingsChoice, FairnessChoice, FairnessKind
from picker.flow.reference.identities import AGENT_HEADERS
from picker.flow.reference.orderings import EarliestDeadline, FirstComeFirstServed, SloDeadline
from picker.flow.reference.program_aware import STRATEGIES, ProgramSettings
from picker.flow.reference.revocation import EvictionFilter, EvictionOrder, LowestThenNewest, SheddableOnly
from picker.flow.reference.usage_limits import HOLDBACK_DOMAINS, PriorityHoldback, SoftReflectiveChoice, StaticLimit

STRICT_BANDS = "strict-band-selection-policy"
AGENT_IDENTITY = "agent-identity"
_EXPLICIT_ONLY, _NOT_EXPLICIT = ("ceilings",), ("shape", "minCeiling", "maxCeiling")


def _without_parameters(kind: FairnessKind) -> Callable[[str, Given], FairnessChoice]:
    def choice(name: str, given: Given) -> FairnessChoice:
        given.nothing()
        return FairnessChoice(name, kind)

    return choice


def _program_aware(name: str, given: Given) -> FairnessChoice:
    default = ProgramSettings()
    parameters = given.read(
        "strategy",
        "evictionTtlSeconds",
        "evictionSweepSeconds",
        "lasWeightService",
        "lasWeightHeadWait",
        "lasHalfLifeSeconds",
        "turnPriorityTimeWeight",
        "turnPriorityInactivitySeconds",
    )
    programs = ProgramSettings(
        parameters.one_of("strategy", STRATEGIES, default.strategy),
        parameters.number("evictionTtlSeconds", default.forgotten_after_seconds),
        parameters.positive("evictionSweepSeconds", default.sweep_seconds),
        parameters.number("lasWeightService", default.service_weight),
        parameters.number("lasWeightHeadWait", default.head_wait_weight),
        parameters.number("lasHalfLifeSeconds", default.half_life_seconds),
        parameters.number("turnPriorityTimeWeight", default.wait_weight),
        parameters.number("turnPriorityInactivitySeconds", default.inactive_seconds),
    )
    return FairnessChoice(name, "program-aware", programs)


def _ordering(build: Callable[[], Ordering]) -> Callable[[Given], Ordering]:
    def ordering(given: Given) -> Ordering:
        given.nothing()
        return build()

    return ordering


def _static(given: Given) -> CeilingsChoice:
    return StaticLimit(given.read("threshold").number("threshold", 1.0))


def _soft_reflective(given: Given) -> CeilingsChoice:
    given.nothing()
    return SoftReflectiveChoice()


def _holdback(given: Given) -> CeilingsChoice:
    parameters = given.read("domain", *_EXPLICIT_ONLY, *_NOT_EXPLICIT)
    domain = parameters.one_of("domain", HOLDBACK_DOMAINS, "rank")
    _refuse_those_of_other_domains(parameters, explicit=domain == "explicit")
    if domain == "explicit":
        return PriorityHoldback(domain="explicit", ceilings=_explicit_ceilings(parameters.required("ceilings")))
    parameters.one_of("shape", ("linear",), "linear")
    lowest = parameters.required("minCeiling")
    low = lowest.attempt(lambda field: field.number(0.0, 1.0)).value
    high = parameters.get_as("maxCeiling", _up_to_one, 1.0)
    if low >= high:
        lowest.refuse(f"expected a number below maxCeiling ({high:g})")
    return PriorityHoldback(low, high, "value" if domain == "value" else "rank")


def _refuse_those_of_other_domains(parameters: Parameters, *, explicit: bool) -> None:
    for name in _NOT_EXPLICIT if explicit else _EXPLICIT_ONLY:
        field = parameters.get(name)
        if field is not None:
            field.report("does not go with domain: explicit" if explicit else "goes with domain: explicit alone")


def _up_to_one(field: Field) -> float:
    value = positive(field)
    if value > 1.0:
        field.refuse("expected a number of at most 1")
    return value


def _explicit_ceilings(field: Field) -> Mapping[int, float]:
    """Ceilings by priority, of which a lower one has none that is higher."""
    found: dict[int, float] = {}
    fields: dict[int, Field] = {}
    for key, value in field.entries().items():
        try:
            priority = int(key)
        except ValueError:
            value.refuse("expected a whole number, a priority, as key")
        found[priority], fields[priority] = value.number(0.0, 1.0), value
    if not found:
        field.refuse("expected a ceiling for at least one priority")
    above = 1.0
    for priority in sorted(found, reverse=True):
        if found[priority] > above:
            fields[priority].refuse(f"expected at most {above:g}, the ceiling of the priority above")
        above = found[priority]
    return found


def _sheddable(given: Given) -> EvictionFilter:
    given.nothing()
    return SheddableOnly()


def _lowest_then_newest(given: Given) -> EvictionOrder:
    given.nothing()
    return LowestThenNewest()


def _agent_identity(given: Given, facts: Facts) -> Told:
    more = given.read("additionalSessionHeaders").get("additionalSessionHeaders")
    names = [each.text().lower() for each in more.items()] if more is not None else []
    return replace(facts, agent_headers=(*names, *AGENT_HEADERS)), ()


ORDERINGS: Mapping[str, Callable[[Given], Ordering]] = {
    "fcfs-ordering-policy": _ordering(FirstComeFirstServed),
    "edf-ordering-policy": _ordering(EarliestDeadline),
    "slo-deadline-ordering-policy": _ordering(SloDeadline),
}
FAIRNESS: Mapping[str, Callable[[str, Given], FairnessChoice]] = {
    "global-strict-fairness-policy": _without_parameters("global-strict"),
    "round-robin-fairness-policy": _without_parameters("round-robin"),
    "program-aware-fairness": _program_aware,
}
CEILINGS: Mapping[str, Callable[[Given], CeilingsChoice]] = {
    "static-usage-limit-policy": _static,
    "priority-holdback-policy": _holdback,
    "soft-reflective-ceiling-policy": _soft_reflective,
}
EVICTION_FILTERS: Mapping[str, Callable[[Given], EvictionFilter]] = {"sheddable-eviction-filter": _sheddable}
EVICTION_ORDERS: Mapping[str, Callable[[Given], EvictionOrder]] = {
    "priority-then-time-eviction-order-policy": _lowest_then_newest
}
IDENTITIES: Mapping[str, FactType] = {AGENT_IDENTITY: FactType(_agent_identity, alone_among=(AGENT_IDENTITY,))}
IMPLIED = ("fcfs-ordering-policy", "global-strict-fairness-policy", "static-usage-limit-policy", STRICT_BANDS)
"""Types that may be referred to without being declared."""
