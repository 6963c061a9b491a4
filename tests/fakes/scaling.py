"""Scale targets and values of metrics, as the HPA controller counts them."""

from decimal import Decimal

from infscale.planner.scale_target import PodState, Workload
from infscale.quantity import milli_value


def milli(value: float) -> int:
    """`value` in the controller's milli-units, rounded away from zero."""
    return milli_value(Decimal(repr(float(value))))


def ready(replicas: int) -> Workload:
    """A workload of `replicas` pods, all running and ready, named ``pod-0`` and so on."""
    return Workload(replicas, tuple(PodState(f"pod-{number}") for number in range(replicas)))
