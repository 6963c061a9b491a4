"""Parameters of workloads by name: what can be changed of a row of the table, and how it is written."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

from infscale.errors import ConfigError
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import Lengths
from infscale.sim.load.distributions.popularity import Popularity
from infscale.sim.load.group_load import GroupLoad
from infscale.sim.load.named.named_workloads import Template
from infscale.sim.load.session_load import SessionLoad
from infscale.sim.load.trace_load import TracePlay

LoadT = TypeVar("LoadT", GroupLoad, SessionLoad)
TemplateT = TypeVar("TemplateT", GroupLoad, SessionLoad, TracePlay)
ValueT = TypeVar("ValueT", Arrivals, Popularity, GroupLoad, SessionLoad, TracePlay)


def with_parameter(template: Template, key: str, text: str) -> Template:
    """`template` with the value that `text` says for `key`; raises `ConfigError` that says what is expected."""
    if isinstance(template, GroupLoad):
        return _setter(_GROUPS, key)(template, text)
    if isinstance(template, SessionLoad):
        return _setter(_SESSIONS, key)(template, text)
    return _setter(_TRACES, key)(template, text)


def parameters(template: Template) -> tuple[str, ...]:
    """The keys that `template` has."""
    table = _GROUPS if isinstance(template, GroupLoad) else _SESSIONS if isinstance(template, SessionLoad) else _TRACES
    return tuple(table)


def _setter(
    setters: Mapping[str, Callable[[TemplateT, str], TemplateT]], key: str
) -> Callable[[TemplateT, str], TemplateT]:
    setter = setters.get(key)
    if setter is None:
        raise ConfigError("", key, f"unknown; there are {', '.join(setters)}, class, tenant")
    return setter


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError("", "", f"expected a number, got {text!r}") from None


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise ConfigError("", "", f"expected a whole number, got {text!r}")
    return int(text)


def _lengths(lengths: Lengths, text: str) -> Lengths:
    """Other ones of the same shape: a mean, or mean and spread with a slash between."""
    mean, slash, spread = text.partition("/")
    around = lengths.around(_number(mean))
    return replace(around, spread=_number(spread)) if slash else around


def _arrivals(arrivals: Arrivals, key: str, text: str) -> Arrivals:
    if key == "rate":
        return replace(arrivals, rates=tuple(_number(each) for each in text.split("/")))
    if key == "requests":
        return replace(arrivals, seconds=_whole(text) * len(arrivals.rates) / sum(arrivals.rates))
    return _with(arrivals, key, _number(text))


def _with(value: ValueT, name: str, part: Any) -> ValueT:
    """`value` with another value of the field `name`."""
    changes: dict[str, Any] = {name: part}
    return replace(value, **changes)


def _of_arrivals(key: str) -> Callable[[LoadT, str], LoadT]:
    return lambda load, text: replace(load, arrivals=_arrivals(load.arrivals, key, text))


def _of_lengths(name: str) -> Callable[[LoadT, str], LoadT]:
    return lambda load, text: _with(load, name, _lengths(getattr(load, name), text))


def _of_popularity(name: str) -> Callable[[LoadT, str], LoadT]:
    return lambda load, text: replace(load, popularity=_with(load.popularity, name, _number(text)))


def _of_whole(name: str) -> Callable[[TemplateT, str], TemplateT]:
    return lambda load, text: _with(load, name, _whole(text))


def _of_trace(name: str) -> Callable[[TracePlay, str], TracePlay]:
    return lambda play, text: _with(play, name, _number(text))


_GROUPS: Final[Mapping[str, Callable[[GroupLoad, str], GroupLoad]]] = MappingProxyType(
    {
        "rate": _of_arrivals("rate"),
        "seconds": _of_arrivals("seconds"),
        "requests": _of_arrivals("requests"),
        "cv": _of_arrivals("cv"),
        "groups": _of_whole("groups"),
        "users": _of_whole("users"),
        "turns": _of_whole("turns"),
        "system": _of_lengths("system"),
        "question": _of_lengths("question"),
        "output": _of_lengths("output"),
        "zipf": _of_popularity("exponent"),
        "hot": _of_popularity("first"),
        "loras": _of_whole("loras"),
    }
)
_SESSIONS: Final[Mapping[str, Callable[[SessionLoad, str], SessionLoad]]] = MappingProxyType(
    {
        "rate": _of_arrivals("rate"),
        "seconds": _of_arrivals("seconds"),
        "requests": _of_arrivals("requests"),
        "cv": _of_arrivals("cv"),
        "groups": _of_whole("groups"),
        "system": _of_lengths("system"),
        "first": _of_lengths("first"),
        "question": _of_lengths("question"),
        "output": _of_lengths("output"),
        "turns": _of_lengths("turns"),
        "think": _of_lengths("think"),
        "zipf": _of_popularity("exponent"),
        "hot": _of_popularity("first"),
    }
)
_TRACES: Final[Mapping[str, Callable[[TracePlay, str], TracePlay]]] = MappingProxyType(
    {
        "start": _of_trace("start_seconds"),
        "seconds": _of_trace("seconds"),
        "requests": _of_whole("requests"),
        "speed": _of_trace("speed"),
        "rate": _of_trace("rate"),
        "cv": _of_trace("cv"),
        "output": _of_whole("output_tokens"),
    }
)
