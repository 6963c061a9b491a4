"""A configuration file of prometheus-adapter, or the ConfigMap that holds one, read strictly.

Source: pkg/config/config.go and docs/config.md of prometheus-adapter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import yaml

from infscale.documents.strict_document import Field, load, quoted, whole
from infscale.errors import ConfigError, InfscaleError
from infscale.prometheus.rules.go_regex import GoRegex, RegexError
from infscale.prometheus.rules.go_template import GoTemplate
from infscale.prometheus.rules.go_values import TemplateError
from infscale.prometheus.rules.metric_naming import Naming, ObjectLabels, Rule, SeriesFilter, reversed_template
from infscale.prometheus.rules.object_kinds import ObjectKind, ObjectKinds, guessed

MAX_RULES: Final = 1_000
_RULE_KEYS: Final = ("seriesFilters", "resources", "name")
_RESOURCE_KEYS: Final = ("cpu", "memory", "window")

ParsedT = TypeVar("ParsedT")


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """A rule for the resource metrics API (``cpu``, ``memory``), which is metrics-server's here."""

    resource: str
    place: str


@dataclass(frozen=True, slots=True)
class RulesFile:
    """What a file says: rules in their order, and those that are not served."""

    rules: tuple[Rule, ...] = ()
    external_rules: tuple[Rule, ...] = ()
    resource_rules: tuple[ResourceRule, ...] = ()

    @property
    def all(self) -> tuple[Rule, ...]:
        """The rules that are served."""
        return (*self.rules, *self.external_rules)


def parse_rules(text: str, source: str) -> RulesFile:
    """The rules in `text`, of the file `source`. Raises `ConfigError` with everything that is wrong."""
    return read_rules(load(text, source))


def read_rules(root: Field) -> RulesFile:
    """The rules that `root` writes, of a file or of a ConfigMap. Raises as `parse_rules`."""
    return whole(_inner(root), _read)


def _inner(root: Field) -> Field:
    """The configuration itself, where `root` is a ConfigMap with one; its lines stay those of the file."""
    entries = root.entries() if isinstance(root.node, yaml.MappingNode) else {}
    if "kind" not in entries or entries["kind"].text(empty=True) != "ConfigMap" or "data" not in entries:
        return root
    held = {name: each for name, each in entries["data"].entries().items() if name.endswith((".yaml", ".yml"))}
    if len(held) != 1:
        entries["data"].refuse(f"expected one configuration such as config.yaml, found {len(held)}")
    ((name, field),) = held.items()
    text = field.text()
    literal = isinstance(field.node, yaml.ScalarNode) and field.node.style in {"|", ">"}
    return load("\n" * field.line + text, root.source) if literal else load(text, f"{root.source} (data.{name})")


def _read(root: Field) -> RulesFile:
    given = root.mapping(optional=("rules", "externalRules", "resourceRules"))
    lists = [given.get(key) for key in ("rules", "externalRules")]
    rules, external = (() if each is None else _rules(each, external=bool(place)) for place, each in enumerate(lists))
    resources = given.get("resourceRules")
    return RulesFile(rules, external, () if resources is None else _resource_rules(resources))


def _rules(field: Field, *, external: bool) -> tuple[Rule, ...]:
    items = field.items()
    if len(items) > MAX_RULES:
        field.refuse(f"expected at most {MAX_RULES} rules, got {len(items)}")
    attempts = [
        item.attempt(lambda each, number=number: _rule(each, number, external=external))  # type: ignore[misc]
        for number, item in enumerate(items)
    ]
    return tuple(each.value for each in attempts if not each.refused)


def _rule(field: Field, number: int, *, external: bool) -> Rule:
    given = field.mapping(("seriesQuery", "metricsQuery"), _RULE_KEYS)
    series = given["seriesQuery"].attempt(Field.text)
    query = given["metricsQuery"].attempt(_parsed(GoTemplate.parse, TemplateError))
    filters = given["seriesFilters"].attempt(lambda each: each.each(_filter)) if "seriesFilters" in given else None
    labels = given["resources"].attempt(_labels) if "resources" in given else None
    naming = given["name"].attempt(_naming) if "name" in given else None
    return Rule(
        number,
        field.place,
        series.value,
        () if filters is None else filters.value,
        ObjectLabels(ObjectKinds()) if labels is None else labels.value,
        Naming(GoRegex.parse(".*"), "$0") if naming is None else naming.value,
        query.value,
        external,
    )


def _filter(field: Field) -> SeriesFilter:
    given = field.mapping(optional=("is", "isNot"))
    if len(given) != 1:
        field.refuse("expected one of is and isNot")
    ((key, pattern),) = given.items()
    return SeriesFilter(_regex(pattern), key == "isNot")


def _labels(field: Field) -> ObjectLabels:
    given = field.mapping(optional=("template", "overrides", "namespaced"))
    overrides: Mapping[str, ObjectKind] = given["overrides"].attempt(_overrides).value if "overrides" in given else {}
    template = (
        given["template"].attempt(_parsed(GoTemplate.parse, TemplateError)).value if _says(given, "template") else None
    )
    namespaced = given["namespaced"].attempt(Field.boolean).value if "namespaced" in given else True
    reading = None
    if template is not None:
        try:
            reading = reversed_template(template)
        except TemplateError as error:
            given["template"].refuse(str(error))
    return ObjectLabels(ObjectKinds(overrides.values()), overrides, template, reading, namespaced)


def _overrides(field: Field) -> Mapping[str, ObjectKind]:
    kinds = ObjectKinds()
    found: dict[str, ObjectKind] = {}
    for label, each in field.entries().items():
        given = each.attempt(lambda one: one.mapping(("resource",), ("group",))).or_else(None)
        if given is None:
            continue
        resource = given["resource"].attempt(Field.text)
        group = given["group"].attempt(lambda one: one.text(empty=True)).or_else("") if "group" in given else ""
        if not resource.refused:
            found[label] = kinds.find(resource.value, group) or guessed(resource.value, group)
    return found


def _naming(field: Field) -> Naming:
    given = field.mapping(optional=("matches", "as"))
    # An empty one is none, and so is an empty template: many files have them.
    pattern = _regex(given["matches"]) if _says(given, "matches") else GoRegex.parse(".*")
    form = given["as"].text(empty=True) if "as" in given else ""
    if not form and pattern.groups > 1:
        field.refuse(f"matches has {pattern.groups} groups: say in as what the name is made of")
    return Naming(pattern, form or ("$1" if pattern.groups else "$0"))


def _says(given: Mapping[str, Field], key: str) -> bool:
    """Whether the text of `key` is there and not empty."""
    return key in given and given[key].text(empty=True) != ""


def _resource_rules(field: Field) -> tuple[ResourceRule, ...]:
    given = field.mapping(optional=_RESOURCE_KEYS)
    return tuple(ResourceRule(key, each.place) for key, each in given.items() if key != "window")


def _regex(field: Field) -> GoRegex:
    return _parsed(GoRegex.parse, RegexError)(field)


def _parsed(parse: Callable[[str], ParsedT], error: type[InfscaleError]) -> Callable[[Field], ParsedT]:
    """A reader of a text that `parse` reads."""

    def read(field: Field) -> ParsedT:
        text = field.text(empty=True)
        if not text:
            field.refuse("expected a non-empty string")
        try:
            return parse(text)
        except error as problem:
            raise ConfigError(field.place, field.path, f"{problem}, in {quoted(text)}") from None

    return read
