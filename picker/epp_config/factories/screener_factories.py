"""Factories of screeners."""

import re
from collections.abc import Callable, Mapping

from infscale.documents.strict_document import Field
from infscale.errors import SelectorError
from infscale.labels import Selector, key_problem
from picker.epp_config.parameters import Given
from picker.scheduling.rollout import (
    REVISION_HEADER,
    REVISION_LABEL,
    ROLLOUT_ROLE_LABEL,
    WEIGHINGS,
    Gate,
    HeaderSelector,
    RolloutScreener,
    Weighing,
)
from picker.scheduling.stages import Screener

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DISABLED = "disabled"
_MODES: Mapping[str, Weighing] = {str(name): name for name in WEIGHINGS}


def _header(field: Field) -> str:
    name = field.text()
    if not _HEADER.fullmatch(name):
        field.refuse("expected the name of a header")
    return name.lower()


def _label(field: Field) -> str:
    key = field.text()
    problem = key_problem(key)
    if problem is not None:
        field.refuse(problem)
    return key


def _scope(field: Field) -> Selector:
    text = field.mapping(required=("labelSelector",))["labelSelector"]
    try:
        return Selector.parse(text.text())
    except SelectorError as error:
        text.refuse(str(error))


def _selectors(field: Field) -> tuple[HeaderSelector, ...]:
    """Selectors, whose names and headers are all different."""
    found: list[HeaderSelector] = []
    names: set[str] = set()
    for item in field.items():
        entry = item.mapping(required=("name", "headerName", "labelKey", "mode"))
        name, header = entry["name"].text(), _header(entry["headerName"])
        if name in names:
            entry["name"].refuse(f"there is already a selector named {name!r}")
        if any(each.header == header for each in found):
            entry["headerName"].refuse(f"there is already a selector of the header {header!r}")
        names.add(name)
        strict = entry["mode"].choice(("strict", "prefer")) == "strict"
        found.append(HeaderSelector(header, _label(entry["labelKey"]), strict))
    return tuple(found)


def _roles(gating: Field, fields: Mapping[str, Field]) -> tuple[str, ...]:
    """The roles, in either of the two forms: a list, or one below `values`, as the reference once had it."""
    field, older = fields.get("requiredRoles"), fields.get("requireRoles")
    if field is not None and older is not None:
        older.refuse("requiredRoles is given too; keep one")
    if older is not None:
        field = older.mapping(required=("values",))["values"]
    roles: list[str] = []
    for item in field.items() if field else ():
        role = item.text()
        if role in roles:
            item.refuse(f"the role {role!r} is given twice")
        roles.append(role)
    if not roles and fields["mode"].text() != _DISABLED:
        (field or gating).refuse("expected at least one role in requiredRoles")
    return tuple(roles)


def _rollout(given: Given) -> Screener:
    parameters = given.read("scope", "headerSelectors", "revisionGating")
    scope = _scope(parameters.required("scope"))
    gating = parameters.required("revisionGating")
    fields = gating.mapping(
        required=("mode",),
        optional=("requiredRoles", "requireRoles", "revisionHeaderName", "revisionLabelKey", "roleLabelKey"),
    )
    mode = fields["mode"].choice((*_MODES, _DISABLED))
    roles = _roles(gating, fields)
    revision = _label(fields["revisionLabelKey"]) if "revisionLabelKey" in fields else REVISION_LABEL
    role = _label(fields["roleLabelKey"]) if "roleLabelKey" in fields else ROLLOUT_ROLE_LABEL
    selectors, header = parameters.get("headerSelectors"), fields.get("revisionHeaderName")
    if selectors is not None and header is not None:
        header.refuse("headerSelectors are given too; name the revision's header there")
    strict = HeaderSelector(REVISION_HEADER if header is None else _header(header), revision)
    gate = None if mode == _DISABLED else Gate(scope, roles, _MODES[mode], role)
    return RolloutScreener((strict,) if selectors is None else _selectors(selectors), revision, gate)


SCREENERS: Mapping[str, Callable[[Given], Screener]] = {"disaggregatedset-rollout-screener": _rollout}
