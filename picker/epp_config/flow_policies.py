"""The flow-control policies that an `EndpointPickerConfig` declares, each built once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from picker.epp_config.factories.flow_factories import (
    CEILINGS,
    EVICTION_FILTERS,
    EVICTION_ORDERS,
    FAIRNESS,
    ORDERINGS,
)
from picker.epp_config.parameters import Given
from picker.epp_config.registry import Kind, Plugin
from picker.flow.policies import Ordering
from picker.flow.reference.flow_settings import CeilingsChoice, FairnessChoice
from picker.flow.reference.revocation import EvictionFilter, EvictionOrder, Victims

T = TypeVar("T")

POLICIES: Final = frozenset(
    {
        Kind.ORDERING,
        Kind.FAIRNESS,
        Kind.CEILINGS,
        Kind.BAND_ORDER,
        Kind.EVICTION_FILTER,
        Kind.EVICTION_ORDER,
    }
)
"""The kinds of plugins that are flow-control policies."""


@dataclass(frozen=True, slots=True)
class FlowPolicies:
    """Policies by the name of their plugin; those that are implied are built when they are first asked for."""

    orderings: dict[str, Ordering] = field(default_factory=dict[str, Ordering])
    fairness: dict[str, FairnessChoice] = field(default_factory=dict[str, FairnessChoice])
    ceilings: dict[str, CeilingsChoice] = field(default_factory=dict[str, CeilingsChoice])
    eviction_filters: dict[str, EvictionFilter] = field(default_factory=dict[str, EvictionFilter])
    eviction_orders: dict[str, EvictionOrder] = field(default_factory=dict[str, EvictionOrder])

    def build(self, plugin: Plugin) -> None:
        """Build the policy that `plugin` declares. Raises `ConfigError`."""
        match plugin.kind:
            case Kind.ORDERING:
                self.ordering(plugin)
            case Kind.FAIRNESS:
                self.fairness_of(plugin)
            case Kind.CEILINGS:
                self.ceilings_of(plugin)
            case Kind.EVICTION_FILTER:
                _once(self.eviction_filters, EVICTION_FILTERS, plugin)
            case Kind.EVICTION_ORDER:
                _once(self.eviction_orders, EVICTION_ORDERS, plugin)
            case _:
                plugin.given.nothing()

    def ordering(self, plugin: Plugin) -> Ordering:
        """The ordering of `plugin`."""
        return _once(self.orderings, ORDERINGS, plugin)

    def fairness_of(self, plugin: Plugin) -> FairnessChoice:
        """The fairness of `plugin`."""
        found = self.fairness.get(plugin.name)
        if found is None:
            found = self.fairness[plugin.name] = FAIRNESS[plugin.type](plugin.name, plugin.given)
        return found

    def ceilings_of(self, plugin: Plugin) -> CeilingsChoice:
        """The ceilings of `plugin`."""
        return _once(self.ceilings, CEILINGS, plugin)

    def victims(self) -> Victims:
        """Whose requests are taken back, by the filter and the order that are declared, else the usual ones."""
        usual = Victims()
        return Victims(
            next(iter(self.eviction_filters.values()), usual.filter),
            next(iter(self.eviction_orders.values()), usual.order),
        )


def _once(built: dict[str, T], factories: Mapping[str, Callable[[Given], T]], plugin: Plugin) -> T:
    if plugin.name not in built:
        built[plugin.name] = factories[plugin.type](plugin.given)
    return built[plugin.name]
