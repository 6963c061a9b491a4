"""Plugins that speak of responses: what an `EndpointPickerConfig` asks to be told of them."""

from dataclasses import dataclass

from infscale.documents.strict_document import Field
from picker.epp_config.parameters import Given
from picker.response.expressions import Expression
from picker.response.reported_attributes import DEFAULT_NAMESPACE, ReportedAttribute


@dataclass(frozen=True, slots=True)
class Reporting:
    """`attributes` go to the gateway at the end of a response; with `served`, its headers name the endpoint."""

    attributes: tuple[ReportedAttribute, ...] = ()
    served: bool = False


NO_REPORTING = Reporting()


def read_attributes(given: Given) -> tuple[ReportedAttribute, ...]:
    """The attributes of a reporter, at least one. Raises `ConfigError`."""
    attributes = given.read("attributes").required("attributes")
    found = tuple(_attribute(item) for item in attributes.items())
    if not found:
        attributes.refuse("expected at least one attribute")
    return found


def _attribute(field: Field) -> ReportedAttribute:
    entry = field.mapping(required=("key", "expression"), optional=("condition",))
    key = entry["key"].mapping(required=("name",), optional=("namespace",))
    return ReportedAttribute(
        key["name"].text(),
        _expression(entry["expression"]),
        _expression(entry["condition"]) if "condition" in entry else None,
        key["namespace"].text() if "namespace" in key else DEFAULT_NAMESPACE,
    )


def _expression(field: Field) -> Expression:
    try:
        return Expression(field.text())
    except ValueError as error:
        field.refuse(str(error))
