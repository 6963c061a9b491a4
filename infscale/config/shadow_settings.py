"""`picker.shadow`: of which requests copies go to a candidate, whose answers are dropped."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final, Literal

from infscale.discovery import names
from infscale.documents import values
from infscale.documents.section import Section
from infscale.documents.strict_document import Field
from infscale.endpoint import ObjectKey

_MOST_POOLS: Final = 1_000
_MOST_CANDIDATES: Final = 8
_MOST_NAMES: Final = 64
_MOST_REQUESTS: Final = 10_000
_MOST_BYTES: Final = 1 << 30
_MOST_REQUEST_BYTES: Final = 1 << 20
_MOST_SECONDS: Final = 3_600.0
_MODEL_CHARACTERS: Final = 128
_HEADER: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,128}")

SIDE_EFFECT_FIELDS: Final = ("tools", "functions", "store", "web_search_options", "kv_transfer_params")
"""Fields of a body that mark side effects: of tools, of answers that are stored, of caches that are passed on."""
_OF_THE_CONNECTION: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-infscale-shadow",
        "x-request-id",
    }
)

ShadowScheme = Literal["http", "https"]
_SCHEMES: Final[tuple[ShadowScheme, ...]] = ("http", "https")


@dataclass(frozen=True, slots=True)
class SkipSettings:
    """What marks a request of which there is to be no copy.

    `headers` by their names (lower case), with the values that count; without values, any does. `paths` are those that
    clients ask for. `fields` are keys of the body that have a value other than null, false, 0, or an empty one.
    """

    headers: Mapping[str, tuple[str, ...]] | None = field(default=None, hash=False)
    paths: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShadowSettings:
    """A candidate that copies of a pool's requests go to.

    The candidate are the endpoints of `pool`, None: of the same, that have the `pod_labels`; `model` None: the one that
    the request is sent as. `share` of the requests are copied, those of a session all or none, whose name is in
    `session_header`. At most `max_requests` copies are under way at a time, which hold at most
    `max_bytes`, and no more than `max_share` of what the candidate takes. A larger body than `max_request_bytes` is not
    copied. A copy is given up after `timeout_seconds`. `headers` go along beside the usual ones. `allow_fields` are
    those of `SIDE_EFFECT_FIELDS` that mark no side effects here. `scheme` None: as metrics pages are scraped.
    """

    share: float
    pool: ObjectKey | None = None
    model: str | None = None
    pod_labels: Mapping[str, str] | None = field(default=None, hash=False)
    max_requests: int = 8
    max_share: float = 0.25
    max_bytes: int = 4 << 20
    max_request_bytes: int = 256 << 10
    timeout_seconds: float = 120.0
    session_header: str = "x-session-id"
    headers: tuple[str, ...] = ()
    allow_fields: tuple[str, ...] = ()
    skip: SkipSettings = field(default_factory=SkipSettings)
    scheme: ShadowScheme | None = None

    @property
    def marking_fields(self) -> tuple[str, ...]:
        """Every key of a body that marks side effects."""
        return (*(each for each in SIDE_EFFECT_FIELDS if each not in self.allow_fields), *self.skip.fields)


Shadows = Mapping[ObjectKey, tuple[ShadowSettings, ...]]
"""By the pool whose requests are copied. Each request is copied once at most, so shares add up to 1 at most."""


def shadow_settings(given: Field) -> Shadows:
    """Read the section."""
    found: dict[ObjectKey, tuple[ShadowSettings, ...]] = {}
    entries = given.entries()
    if len(entries) > _MOST_POOLS:
        given.refuse(f"expected at most {_MOST_POOLS} pools, got {len(entries)}")
    for name, each in entries.items():
        key = each.attempt(partial(names.object_key_of, name))
        if not key.refused:
            found[key.value] = each.attempt(partial(_list, key.value)).or_else(())
    return MappingProxyType(found)


def _list(own: ObjectKey, given: Field) -> tuple[ShadowSettings, ...]:
    items = given.items()
    if not items or len(items) > _MOST_CANDIDATES:
        given.refuse(f"expected 1 to {_MOST_CANDIDATES} candidates, got {len(items)}")
    read = given.each(partial(_candidate, own))
    total = sum(each.share for each in read)
    # Of what people write, 0.1 + 0.2 + 0.7 is a little more.
    if total > 1 + 1e-9:
        given.refuse(f"a request is copied once at most, and the shares add up to {total:g}: expected at most 1")
    return read


def _candidate(own: ObjectKey, given: Field) -> ShadowSettings:
    section = Section(given, ShadowSettings, ["share"])
    share = section.attempt("share", values.ratio).or_else(0.0)
    pool = section.get("pool", names.object_key, None)
    model = section.get("model", _model, None)
    labels = section.get("pod_labels", Field.text_mapping, None)
    if section.sound("pool", "model", "pod_labels") and model is None and not labels and pool in (None, own):
        given.refuse(f"expected another pool than {own}, a model, or pod_labels: a candidate is something else")
    default = ShadowSettings(share)
    one_of_fields = partial(Field.choice, options=SIDE_EFFECT_FIELDS)
    return ShadowSettings(
        share,
        pool,
        model,
        None if labels is None else MappingProxyType(labels),
        section.get("max_requests", values.whole(1, _MOST_REQUESTS), default.max_requests),
        section.get("max_share", values.ratio, default.max_share),
        section.get("max_bytes", values.whole(1, _MOST_BYTES), default.max_bytes),
        section.get("max_request_bytes", values.whole(1, _MOST_REQUEST_BYTES), default.max_request_bytes),
        section.get("timeout_seconds", _timeout, default.timeout_seconds),
        section.get("session_header", _header, default.session_header),
        section.get("headers", partial(values.different, read=_sent_header), ()),
        section.get("allow_fields", partial(values.different, read=one_of_fields), ()),
        section.get("skip", _skip, default.skip),
        section.get("scheme", _scheme, None),
    )


def _skip(given: Field) -> SkipSettings:
    section = Section(given, SkipSettings)
    return SkipSettings(
        section.get("headers", _marking_headers, None),
        section.get("paths", partial(values.different, read=values.url_path), ()),
        section.get("fields", partial(values.different, read=Field.text), ()),
    )


def _marking_headers(given: Field) -> Mapping[str, tuple[str, ...]]:
    entries = given.entries()
    if len(entries) > _MOST_NAMES:
        given.refuse(f"expected at most {_MOST_NAMES} headers, got {len(entries)}")
    for name, each in entries.items():
        if not _HEADER.fullmatch(name.lower()):
            each.refuse("expected the name of a header")
    return MappingProxyType({name.lower(): values.different(each, read=Field.text) for name, each in entries.items()})


def _header(given: Field) -> str:
    name = given.text().lower()
    if not _HEADER.fullmatch(name):
        given.refuse("expected the name of a header")
    return name


def _sent_header(given: Field) -> str:
    name = _header(given)
    if name in _OF_THE_CONNECTION:
        given.refuse("this header belongs to the connection or to the copy itself, and does not go along")
    return name


def _scheme(given: Field) -> ShadowScheme:
    read: Callable[[Field], ShadowScheme] = values.one_of(_SCHEMES)
    return read(given)


def _timeout(given: Field) -> float:
    seconds = values.positive_seconds(given)
    if seconds > _MOST_SECONDS:
        given.refuse(f"expected at most {_MOST_SECONDS:g} seconds")
    return seconds


def _model(given: Field) -> str:
    text = given.text()
    if len(text) > _MODEL_CHARACTERS:
        given.refuse(f"expected the name of a model: at most {_MODEL_CHARACTERS} characters")
    return text
