"""`picker.fallback`: where requests of a pool go that it cannot serve, or not in time."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final

from infscale.discovery import names
from infscale.documents import values
from infscale.documents.section import Section
from infscale.documents.strict_document import Field
from infscale.endpoint import ObjectKey

_MOST_TARGETS: Final = 8
_MOST_POOLS: Final = 1_000
_MOST_REQUESTS: Final = 1_000_000
_MODEL_CHARACTERS: Final = 128


@dataclass(frozen=True, slots=True)
class FallbackSettings:
    """One place where requests of a pool go.

    `pool` None: the same, for another `model`; `model` None: the one asked for. It is for requests that ask for one of
    `models`, where there are some. A request goes there where its pool has no endpoint for it, and with `after_seconds`
    also when it has waited for so long or is expected to. At most `max_requests` are there at a time, and no more than
    `max_share` of what the pool takes.
    """

    pool: ObjectKey | None = None
    model: str | None = None
    models: tuple[str, ...] = ()
    after_seconds: float | None = None
    max_requests: int | None = None
    max_share: float | None = None


Fallbacks = Mapping[ObjectKey, tuple[FallbackSettings, ...]]
"""By the pool that requests are for, in the order in which they are tried."""


def fallback_settings(given: Field) -> Fallbacks:
    """Read the section."""
    found: dict[ObjectKey, tuple[FallbackSettings, ...]] = {}
    entries = given.entries()
    if len(entries) > _MOST_POOLS:
        given.refuse(f"expected at most {_MOST_POOLS} pools, got {len(entries)}")
    for name, field in entries.items():
        key = field.attempt(partial(names.object_key_of, name))
        if not key.refused:
            found[key.value] = field.attempt(partial(_list, key.value)).or_else(())
    return MappingProxyType(found)


def _list(own: ObjectKey, given: Field) -> tuple[FallbackSettings, ...]:
    items = given.items()
    if not items or len(items) > _MOST_TARGETS:
        given.refuse(f"expected 1 to {_MOST_TARGETS} places in the order in which they are tried, got {len(items)}")
    seen: set[tuple[ObjectKey, str | None, tuple[str, ...]]] = set()

    def read(field: Field) -> FallbackSettings:
        one = _target(own, field)
        place = one.pool or own, one.model, one.models
        if place in seen:
            field.refuse("this place is in the list already")
        seen.add(place)
        return one

    return given.each(read)


def _target(own: ObjectKey, given: Field) -> FallbackSettings:
    section = Section(given, FallbackSettings)
    pool = section.get("pool", names.object_key, None)
    model = section.get("model", _model, None)
    if section.sound("pool", "model") and model is None and pool in (None, own):
        given.refuse(f"expected another pool than {own}, or another model")
    return FallbackSettings(
        pool,
        model,
        section.get("models", partial(values.different, read=_model), ()),
        section.get("after_seconds", values.seconds, None),
        section.get("max_requests", values.whole(1, _MOST_REQUESTS), None),
        section.get("max_share", values.ratio, None),
    )


def _model(field: Field) -> str:
    """A name that can stand in a header: visible ASCII without quotation marks and backslashes."""
    text = field.text()
    if len(text) > _MODEL_CHARACTERS or not all("!" <= each <= "~" and each not in '"\\' for each in text):
        field.refuse(
            f"expected the name of a model: at most {_MODEL_CHARACTERS} visible characters of ASCII, no quotes"
        )
    return text
