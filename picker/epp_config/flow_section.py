"""``flowControl`` of an `EndpointPickerConfig`: what may wait, for how long, and by which of the declared policies."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from infscale.documents.strict_document import Field, attempted
from infscale.errors import QuantityError
from infscale.quantity import parse_quantity
from picker.epp_config.declared import Declared
from picker.epp_config.factories.flow_factories import IMPLIED
from picker.epp_config.parameters import note
from picker.epp_config.registry import Kind, Plugin
from picker.flow.reference.flow_settings import BandSettings, ReferenceFlowSettings
from picker.flow.reference.wait_budgets import WaitBudget

GATE: Final = "flowControl"
DETECTOR_KEY: Final = "saturationDetector"
_BAND_KEYS: Final = ("maxBytes", "maxRequests", "defaultRequestTTL", "fairnessPolicyRef", "orderingPolicyRef")
_KEYS: Final = (
    "bandSelectionPolicyPluginRef",
    "defaultNegativePriorityBand",
    "defaultPriorityBand",
    "defaultRequestTTL",
    "enableEviction",
    "maxBytes",
    "maxRequests",
    "noEndpointRequestTTL",
    "priorityBands",
    DETECTOR_KEY,
    "usageLimitPolicyPluginRef",
)
_NOT_EVICTED: Final = "has no effect here: requests in flight go on to their end"


class FlowSection:
    """Reads the section; None: the document has none."""

    def __init__(self, section: Field | None, declared: Declared) -> None:
        empty: dict[str, Field] = {}
        self._fields = empty if section is None else section.attempt(_fields).or_else(empty)
        self._declared = declared

    @property
    def detector(self) -> Field | None:
        """What says which saturation detector counts, which it does whether flow control is on or not."""
        return self._fields.get(DETECTOR_KEY)

    def ignored(self) -> None:
        """Note what has no effect because flow control is off."""
        for name, field in self._fields.items():
            if name != DETECTOR_KEY:
                self._declared.notes.append(note(field, f"has no effect without the gate {GATE}"))

    def settings(self) -> ReferenceFlowSettings:
        """What the section says, with the reference's defaults."""
        fields, usual = self._fields, ReferenceFlowSettings()
        ttl = attempted(fields, "defaultRequestTTL", _ttl, usual.budget.seconds).or_else(usual.budget.seconds)
        empty_ttl = attempted(fields, "noEndpointRequestTTL", _ttl, ttl).or_else(ttl)
        default = self._template("defaultPriorityBand") or usual.default_band
        negative = self._template("defaultNegativePriorityBand")
        settings = ReferenceFlowSettings(
            attempted(fields, "maxRequests", _count, 0).or_else(0) or None,
            attempted(fields, "maxBytes", _count, 0).or_else(0) or None,
            WaitBudget(ttl, empty_ttl),
            default,
            negative,
            self._bands(),
        )
        if "bandSelectionPolicyPluginRef" in fields:
            fields["bandSelectionPolicyPluginRef"].attempt(lambda field: self._policy(field, Kind.BAND_ORDER, "all"))
        ceilings = fields.get("usageLimitPolicyPluginRef")
        if ceilings is not None:
            plugin = ceilings.attempt(lambda field: self._policy(field, Kind.CEILINGS, "all"))
            if not plugin.refused:
                settings = replace(settings, ceilings=self._declared.policies.ceilings_of(plugin.value))
        return replace(settings, evicting=self._declared.policies.victims()) if self._evicts() else settings

    def _evicts(self) -> bool:
        evicts = attempted(self._fields, "enableEviction", Field.boolean, False).or_else(False)
        if evicts:
            self._declared.notes.append(note(self._fields["enableEviction"], _NOT_EVICTED))
        for kind in (Kind.EVICTION_FILTER, Kind.EVICTION_ORDER):
            for plugin in self._declared.of_kind(kind) if evicts else ():
                self._declared.use(plugin, "eviction")
        return evicts

    def _template(self, key: str) -> BandSettings | None:
        field = self._fields.get(key)
        if field is None:
            return None
        # Templates may name a priority, which says nothing.
        read = field.attempt(lambda each: self._band(each.mapping(optional=("priority", *_BAND_KEYS)), "others"))
        return read.or_else(BandSettings())

    def _bands(self) -> Mapping[int, BandSettings]:
        bands: dict[int, BandSettings] = {}

        def read(field: Field) -> None:
            entry = field.mapping(required=("priority",), optional=_BAND_KEYS)
            priority = entry["priority"].attempt(Field.integer)
            if not priority.refused and priority.value in bands:
                entry["priority"].report(f"there is already a band of priority {priority.value}")
            band = self._band(entry, f"{priority.or_else(0)}")
            if not priority.refused:
                bands[priority.value] = band

        if "priorityBands" in self._fields:
            self._fields["priorityBands"].attempt(lambda field: field.each(read))
        return bands

    def _band(self, entry: Mapping[str, Field], whose: str) -> BandSettings:
        """A band; `whose` requests it is for, in words. As in the reference, a limit of 0 is the usual one."""
        usual, policies = BandSettings(), self._declared.policies
        ordering, fairness, ttl = usual.ordering, usual.fairness, entry.get("defaultRequestTTL")
        if "orderingPolicyRef" in entry:
            plugin = entry["orderingPolicyRef"].attempt(lambda field: self._policy(field, Kind.ORDERING, whose))
            ordering = ordering if plugin.refused else policies.ordering(plugin.value)
        if "fairnessPolicyRef" in entry:
            plugin = entry["fairnessPolicyRef"].attempt(lambda field: self._policy(field, Kind.FAIRNESS, whose))
            fairness = fairness if plugin.refused else policies.fairness_of(plugin.value)
        return BandSettings(
            attempted(entry, "maxRequests", _count, 0).or_else(0) or usual.max_requests,
            attempted(entry, "maxBytes", _count, 0).or_else(0) or usual.max_bytes,
            None if ttl is None else ttl.attempt(_ttl).or_else(0.0),
            ordering,
            fairness,
        )

    def _policy(self, reference: Field, kind: Kind, whose: str) -> Plugin:
        """The policy that is referred to. Raises `ConfigError`."""
        plugin = self._declared.find_policy(reference, kind, *IMPLIED)
        self._declared.use(plugin, f"waiting requests: {whose}")
        return plugin


def _fields(section: Field) -> dict[str, Field]:
    return section.mapping(optional=_KEYS)


def _ttl(field: Field) -> float:
    """A time to wait, seconds: 0 says that there is no end to it."""
    return field.duration() or math.inf


def _count(field: Field) -> int:
    """A quantity of requests or bytes, in whole ones."""
    try:
        number = parse_quantity(field.text()) if field.is_text else field.integer(0)
    except QuantityError as error:
        field.refuse(str(error))
    if number < 0:
        field.refuse("expected at least 0")
    return math.ceil(number)
