"""What is told to the gateway of a response at its end: numbers made of its token usage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from picker.response.expressions import Expression
from picker.response.usage import Usage

DEFAULT_NAMESPACE: Final = "envoy.lb"


@dataclass(frozen=True, slots=True)
class ReportedAttribute:
    """A number under `name` in the namespace of the gateway's dynamic metadata, where `condition` holds."""

    name: str
    expression: Expression
    condition: Expression | None = None
    namespace: str = DEFAULT_NAMESPACE


def reported(attributes: tuple[ReportedAttribute, ...], usage: Usage) -> Mapping[str, Mapping[str, float]]:
    """The attributes that have a value, by namespace and name. What the model server does not say is unknown, not 0."""
    said = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details.cached_tokens": usage.cached_tokens,
    }
    numbers = {name: float(number) for name, number in said.items() if number is not None}
    found: dict[str, dict[str, float]] = {}
    for each in attributes:
        if each.condition is not None and not each.condition.holds(numbers):
            continue
        value = each.expression.number(numbers)
        if value is not None:
            found.setdefault(each.namespace, {})[each.name] = float(value)
    return found
