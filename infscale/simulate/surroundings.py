"""What a router of one's own is made of: everything of a run, also what no picker can know."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infscale.simulate.product import PickerRouter, Product
from infscale.simulate.scenario import Scenario
from infscale.simulate.world.fleet import Servers
from infscale.simulate.world.gateway import Router
from infscale.simulate.world.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One run. `servers` are those that discovery lists, by authority, at any time.

    `picker` is the router of the policy's `EndpointPickerConfig`, None where it has none; `product` what that reads.
    """

    scenario: Scenario
    clock: VirtualClock
    servers: Servers
    rng: "Random"
    product: Product | None
    picker: PickerRouter | None


MakeRouter = Callable[[Surroundings], Router]
"""Makes the router of a run, for one use; it goes to other processes with its policy."""
