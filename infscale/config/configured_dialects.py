"""The dialects of the configuration file: what an engine calls our metrics, in the words of an operator."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar, get_args

from infscale.documents.problems import AlreadySaid
from infscale.documents.section import Section
from infscale.documents.strict_document import Field, quoted
from infscale.documents.values import one_of, url_path
from infscale.metrics.gauges import EngineGauges
from infscale.metrics.pages.dialects import DIALECTS
from infscale.metrics.pages.exposition import MetricSpec
from infscale.metrics.pages.written_dialects import EngineNames
from infscale.metrics.sample import CounterName, HistogramName

_HISTOGRAMS: tuple[HistogramName, ...] = get_args(HistogramName)
_COUNTERS: tuple[CounterName, ...] = get_args(CounterName)

NameT = TypeVar("NameT", bound=str)


def dialects(field: Field) -> tuple[EngineNames, ...]:
    """The dialects of a list, each name once. Raises `ConfigError`."""
    found: dict[str, EngineNames] = {}

    def add(item: Field) -> None:
        names = _names(item)
        if names.name in found:
            item.refuse(f"there is already a dialect {quoted(names.name)}")
        found[names.name] = names

    attempts = [item.attempt(add) for item in field.items()]
    if any(each.refused for each in attempts):
        raise AlreadySaid(field.place, field.path, "some dialects are refused")
    return tuple(found.values())


def _names(field: Field) -> EngineNames:
    section = Section(field, EngineNames, required=["name"])
    name = section.attempt("name", _name)
    default = EngineNames("")
    names = EngineNames(
        name=name.or_else(""),
        like=section.get("like", one_of(tuple(DIALECTS)), None),
        gauges=EngineGauges(*[section.get(gauge, metric_spec, None) for gauge in EngineGauges._fields]),
        lora=section.get("lora", metric_spec, None),
        cache_info=section.get("cache_info", metric_spec, None),
        block_size_label=section.get("block_size_label", Field.text, default.block_size_label),
        num_blocks_label=section.get("num_blocks_label", Field.text, default.num_blocks_label),
        block_size=section.get("block_size", metric_spec, None),
        num_blocks=section.get("num_blocks", metric_spec, None),
        model_label=section.get("model_label", Field.text, None),
        histograms=section.get("histograms", _histograms, None),
        counters=section.get("counters", _counters, None),
        path=section.get("path", url_path, None),
    )
    # A metric that is refused is not one that is missing.
    if all(map(section.sound, section.given)):
        checked(names, field)
    return replace(names, name=name.value)


def _name(field: Field) -> str:
    name = field.text()
    if name == "auto":
        field.refuse("'auto' means that the dialect is found out; choose another name")
    return name


def checked(names: EngineNames, field: Field) -> None:
    """Refuse what `field` says where it is no dialect."""
    try:
        names.dialect()
    except ValueError as error:
        field.refuse(str(error))


def metric_spec(field: Field) -> str:
    """A metric spec, or "" for a metric that there is not."""
    text = field.text(empty=True)
    try:
        MetricSpec.parse(text)
    except ValueError as error:
        field.refuse(f"{error}, got {quoted(text)}")
    return text


def _histograms(field: Field) -> Mapping[HistogramName, str]:
    return _named(field, _HISTOGRAMS)


def _counters(field: Field) -> Mapping[CounterName, str]:
    return _named(field, _COUNTERS)


def _named(field: Field, names: tuple[NameT, ...]) -> Mapping[NameT, str]:
    given = field.mapping(optional=names)
    specs = {name: given[name].attempt(metric_spec) for name in names if name in given}
    return MappingProxyType({name: spec.value for name, spec in specs.items() if not spec.refused})
