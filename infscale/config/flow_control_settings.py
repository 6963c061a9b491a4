"""`picker.flow_control`: whether and how requests wait in the picker until an endpoint can begin them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from infscale.documents import values
from infscale.documents.section import Section
from infscale.documents.strict_document import Field, quoted

_PRIORITY: Final = re.compile(r"-?[0-9]{1,10}")
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%")
_MOST_REQUESTS: Final = 1_000_000
_MOST_BYTES: Final = 64 * 1024**3

OverBudget = Literal["yield", "wait"]


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """What a tenant may have: GPU-seconds in each second, or with `of_pool` a share, 0–1, of the pool's GPUs."""

    amount: float
    of_pool: bool = False


@dataclass(frozen=True, slots=True)
class FlowControlSettings:
    """How requests wait.

    `enabled` None: they do where the scheduling has flow control of its own, or places them by what endpoints have to
    compute, as the preset `infscale` does. A request waits for `max_wait_seconds` at most; for the first endpoint of a
    pool that has none ready for `no_endpoint_seconds`, None: for as long, 0: it does not. At most `max_requests` wait
    in one pool, with bodies of `max_bytes` together. `weights` are shares in GPU time by the names that the gateway
    gives tenants in the fairness header; 1 for others. `band_shares` are what bands are guaranteed of the GPU time, by
    their priorities, while requests of them wait. With `preempt` sheddable requests in flight are taken
    back for those of higher bands that wait. `budgets` are those of tenants, by their names; a tenant that is over its
    budget goes after all others (``yield``), or not before it is within it again (``wait``).
    """

    enabled: bool | None = None
    max_wait_seconds: float = 60.0
    no_endpoint_seconds: float | None = None
    max_requests: int = 10_000
    max_bytes: int = 128 * 1024 * 1024
    weights: Mapping[str, float] | None = field(default=None, hash=False)
    band_shares: Mapping[int, float] | None = field(default=None, hash=False)
    preempt: bool = True
    budgets: Mapping[str, BudgetSettings] | None = field(default=None, hash=False)
    over_budget: OverBudget = "yield"


def flow_control_settings(given: Field) -> FlowControlSettings:
    """Read the section."""
    section, default = Section(given, FlowControlSettings), FlowControlSettings()
    return FlowControlSettings(
        section.get("enabled", Field.boolean, None),
        section.get("max_wait_seconds", values.positive_seconds, default.max_wait_seconds),
        section.get("no_endpoint_seconds", values.seconds, default.no_endpoint_seconds),
        section.get("max_requests", values.whole(0, _MOST_REQUESTS), default.max_requests),
        section.get("max_bytes", values.whole(0, _MOST_BYTES), default.max_bytes),
        section.get("weights", _weights, default.weights),
        section.get("band_shares", _band_shares, default.band_shares),
        section.get("preempt", Field.boolean, default.preempt),
        section.get("budgets", _budgets, default.budgets),
        section.get("over_budget", values.one_of(get_args(OverBudget)), default.over_budget),
    )


def _weights(given: Field) -> Mapping[str, float]:
    return {name: values.positive(each) for name, each in given.entries().items()}


def _band_shares(given: Field) -> Mapping[int, float]:
    shares: dict[int, float] = {}
    for name, each in given.entries().items():
        if not _PRIORITY.fullmatch(name):
            each.refuse(f"expected a priority, a whole number such as -10, as key, got {quoted(name)}")
        shares[int(name)] = values.ratio(each)
    if sum(shares.values()) > 1.0 + 1e-9:
        given.refuse(f"expected shares of together at most 1, got {sum(shares.values()):g}")
    return shares


def _budgets(given: Field) -> Mapping[str, BudgetSettings]:
    return {name: _budget(each) for name, each in given.entries().items()}


def _budget(given: Field) -> BudgetSettings:
    if not given.is_text:
        return BudgetSettings(values.positive(given))
    text = given.text()
    found = _SHARE.fullmatch(text)
    share = float(found[1]) / 100.0 if found else 0.0
    if not 0.0 < share <= 1.0:
        given.refuse(f"expected GPU-seconds per second, or a share of the pool such as 25%, got {quoted(text)}")
    return BudgetSettings(share, of_pool=True)
