"""Workloads as they are asked for: ``name`` or ``name:key=value,key=value``, once or more for a mixture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import xxhash

from infscale.errors import ConfigError
from infscale.sim.load.mixed_load import MixedLoad
from infscale.sim.load.named.named_workloads import MIXTURES, NAMED_WORKLOADS, Fleet, NamedWorkload, Template
from infscale.sim.load.named.workload_parameters import with_parameter
from infscale.sim.load.trace_formats import parse_trace
from infscale.sim.load.trace_load import TraceLoad, TracePlay
from infscale.sim.load.traffic import LoadTarget, Traffic
from infscale.sim.load.virtual_request import RequestClass

_MAX_TENANT = 128
Read = Callable[[str], str]
"""Reads the file at a path; raises `ConfigError` for one that cannot be read."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One workload that was asked for. `file`, `request_class` and `tenant` only where they were given."""

    row: NamedWorkload
    template: Template
    file: str | None = None
    request_class: RequestClass | None = None
    tenant: str | None = None

    def traffic(self, target: LoadTarget, read: Read) -> Traffic:
        template = self.template
        own = None if isinstance(template, TracePlay) else template.target.request_class
        request_class = self.request_class or own or target.request_class
        target = replace(target, request_class=request_class, tenant=self.tenant or target.tenant)
        if not isinstance(template, TracePlay):
            return replace(template, target=target)
        if self.file is None:
            raise ConfigError("", f"workload {self.row.name}", f"expected the trace: {self.row.name}:file=PATH")
        text = read(self.file)
        digest = xxhash.xxh3_128_hexdigest(text.encode())
        trace = parse_trace(text, self.file, template.output_tokens)
        return TraceLoad(target, template, self.file.rpartition("/")[2], digest, trace)


@dataclass(frozen=True, slots=True)
class WorkloadChoice:
    """What was asked for: `texts` are the words of it."""

    texts: tuple[str, ...]
    parts: tuple[_Part, ...]

    @property
    def fleet(self) -> Fleet:
        """The servers that suit it: those of its first part."""
        return self.parts[0].row.fleet

    def traffic(self, target: LoadTarget, read: Read) -> Traffic:
        """The workload, for `target`; raises `ConfigError` for a trace that is missing or cannot be read."""
        parts = tuple(part.traffic(target, read) for part in self.parts)
        return parts[0] if len(parts) == 1 else MixedLoad(parts)


def choose_workload(texts: Sequence[str]) -> WorkloadChoice:
    """The workload that `texts` ask for, side by side; raises `ConfigError` for what there is not."""
    parts = tuple(_part(each) for text in texts for each in MIXTURES.get(text, (text,)))
    if not parts:
        raise ConfigError("", "workload", "expected at least one")
    return WorkloadChoice(tuple(texts), parts)


def _part(text: str) -> _Part:
    name, _, given = text.partition(":")
    row = NAMED_WORKLOADS.get(name)
    if name in MIXTURES:
        written = " and ".join(MIXTURES[name])
        raise ConfigError("", f"workload {name}", f"is a mixture without parameters; write it out: {written}")
    if row is None:
        names = ", ".join(sorted({*NAMED_WORKLOADS, *MIXTURES}))
        raise ConfigError("", "workload", f"unknown name {name!r}; there are {names}")
    part = _Part(row, row.template)
    for assignment in given.split(",") if given else ():
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError("", f"workload {name}", f"expected key=value, got {assignment!r}")
        try:
            part = _changed(part, key.strip(), value.strip())
        except ConfigError as error:
            raise ConfigError("", f"workload {name}: {key.strip()}", error.problem) from None
    return part


def _changed(part: _Part, key: str, value: str) -> _Part:
    template = part.template
    if key == "class":
        return replace(part, request_class=_class(value))
    if key == "tenant":
        return replace(part, tenant=_tenant(value))
    if key == "file" and isinstance(template, TracePlay):
        return replace(part, file=value)
    return replace(part, template=with_parameter(template, key, value))


def _tenant(text: str) -> str:
    # What a header can carry; more would be cut where it is kept.
    if not (text.isascii() and text.isprintable() and 0 < len(text) <= _MAX_TENANT):
        raise ConfigError("", "", f"expected a name of 1–{_MAX_TENANT} printable ASCII characters, got {text!r}")
    return text


def _class(text: str) -> RequestClass:
    try:
        return RequestClass(text)
    except ValueError:
        raise ConfigError("", "", f"expected {' or '.join(RequestClass)}, got {text!r}") from None
