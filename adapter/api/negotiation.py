"""What a client's headers say about the answer it takes, read as the API server reads them.

Clauses of `Accept` are tried by quality, then the more specific first. A clause that asks for a conversion (``as``,
``g``, ``v``) counts only where this conversion is offered. What is malformed is passed over, and what is too long
accepts nothing: no header can cost more than its few characters.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from adapter.api.forms import Form
from adapter.errors import NotAcceptable

MAX_ACCEPT_CHARACTERS = 2_048

_REMEMBERED_HEADERS = 256

_QUALITY = re.compile(r"[01](?:\.[0-9]{0,3})?|\.[0-9]{1,3}", re.ASCII)
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Preferences:
    """The headers `Accept` and `If-None-Match` as they came; None where there was none."""

    accept: str | None = None
    if_none_match: str | None = None

    def has(self, etag: str) -> bool:
        """Whether the client has the document with this entity tag (quoted) already."""
        text = (self.if_none_match or "").strip()
        return text == _ANY or etag in _TAG.findall(text)


@dataclass(frozen=True, slots=True)
class Conversion:
    """Another kind of document that a path can be asked for."""

    kind: str
    group: str
    version: str

    @property
    def parameters(self) -> str:
        """The parameters of the content type that name it."""
        return f"g={self.group};v={self.version};as={self.kind}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """How an answer is written so that the client takes it; `conversion` None is the path's own document."""

    form: Form = Form.JSON
    pretty: bool = False
    conversion: Conversion | None = None


@dataclass(frozen=True, slots=True)
class _Clause:
    type: str
    subtype: str
    quality: float
    parameters: Mapping[str, str]

    @property
    def rank(self) -> tuple[float, bool, bool]:
        """Its place: the lower, the earlier it is tried."""
        return -self.quality, self.type == _ANY, self.subtype == _ANY

    @property
    def conversion(self) -> Conversion | None:
        """The conversion it asks for."""
        kind, group, version = (self.parameters.get(name, "") for name in ("as", "g", "v"))
        return Conversion(kind, group, version) if kind or group or version else None

    def takes(self, form: Form) -> bool:
        """Whether it covers the content type of `form`."""
        kind, _, subtype = form.value.partition("/")
        if self.type == _ANY:
            return self.subtype == _ANY
        return self.type == kind and self.subtype in {_ANY, subtype}


def accepted(accept: str | None, conversions: tuple[Conversion | None, ...] = (None,)) -> Accepted | None:
    """What the header takes first of what `conversions` offer (None: the path's own document); None: nothing.

    Every document is offered as JSON and as YAML. Without a header, the path's own document is taken as JSON.
    """
    if not accept:
        return Accepted() if None in conversions else None
    return _first_taken(accept, conversions) if len(accept) <= MAX_ACCEPT_CHARACTERS else None


@lru_cache(maxsize=_REMEMBERED_HEADERS)  # Every client asks in its own words, which stay the same.
def _first_taken(accept: str, conversions: tuple[Conversion | None, ...]) -> Accepted | None:
    for clause in sorted(_clauses(accept), key=lambda clause: clause.rank):
        conversion = clause.conversion
        if conversion not in conversions:
            continue
        for form in Form:
            if clause.takes(form):
                return Accepted(form, clause.parameters.get("pretty") == "1", conversion)
    return None


def negotiated(accept: str | None) -> Accepted:
    """How the path's own document is written. Raises `NotAcceptable`."""
    found = accepted(accept)
    if found is None:
        types = ", ".join(form.value for form in Form)
        raise NotAcceptable(f"only the following media types are accepted: {types}")
    return found


def _clauses(accept: str) -> Iterator[_Clause]:
    for part in accept.split(","):
        media, *rest = part.split(";")
        kind, _, subtype = media.strip().lower().partition("/")
        parameters = dict(map(_parameter, rest))
        quality = parameters.pop("q", "1")
        if kind == _ANY and not subtype:
            subtype = _ANY
        # No version of this server is offered beside another.
        if not (kind and subtype) or parameters.get("sv") or not _QUALITY.fullmatch(quality):
            continue
        if float(quality) > 0:
            yield _Clause(kind, subtype, float(quality), parameters)


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')
