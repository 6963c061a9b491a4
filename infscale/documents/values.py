"""Single values of documents: paths, URLs, numbers with a range, and how often something is done."""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TypeVar
from urllib.parse import urlsplit

from infscale.documents.section import Section
from infscale.documents.strict_document import Field, quoted, seconds_of_duration

MIN_INTERVAL_SECONDS = 0.01
MAX_SECONDS = 86_400.0
MAX_PORT = 65535

_MIN_BYTES = 1024
_MAX_BYTES = 1024**3
_TIMEOUT_SHARE = 0.8

ChoiceT = TypeVar("ChoiceT", bound=str)
EnumT = TypeVar("EnumT", bound=Enum)


def one_of(options: tuple[ChoiceT, ...]) -> Callable[[Field], ChoiceT]:
    """A reader of one of `options`."""

    def read(field: Field) -> ChoiceT:
        return options[options.index(field.choice(options))]

    return read


def member(members: Iterable[EnumT]) -> Callable[[Field], EnumT]:
    """A reader of one of these members of an enumeration, by their values."""
    by_value = {str(each.value): each for each in members}
    return lambda field: by_value[field.choice([*by_value])]


def interval(field: Field) -> float:
    """Seconds between two things that happen again and again."""
    return _number_of_seconds(field, MIN_INTERVAL_SECONDS)


def seconds(field: Field) -> float:
    """Seconds, none included."""
    return _number_of_seconds(field, 0)


def positive_seconds(field: Field) -> float:
    """Seconds above 0."""
    value = _number_of_seconds(field, 0)
    if value <= 0:
        field.refuse(f"expected more than 0, got {value:g}")
    return value


def _number_of_seconds(field: Field, minimum: float) -> float:
    if field.is_text:
        text = field.text(empty=True)
        written = seconds_of_duration(text)
        meant = "" if written is None else f"; write {written:g}"
        field.refuse(f"expected a number of seconds, such as 0.5, got {quoted(text)}{meant}")
    return field.number(minimum, MAX_SECONDS)


def positive(field: Field) -> float:
    """A number above 0."""
    value = field.number()
    if value <= 0:
        field.refuse(f"expected more than 0, got {value:g}")
    return value


def ratio(field: Field) -> float:
    """A number above 0 and at most 1."""
    field.number(maximum=1)
    return positive(field)


def whole(minimum: int, maximum: int) -> Callable[[Field], int]:
    """A reader of whole numbers within the bounds."""
    return lambda field: field.integer(minimum, maximum)


byte_count = whole(_MIN_BYTES, _MAX_BYTES)
"""Reads a limit in bytes."""

port = whole(1, MAX_PORT)
"""Reads a port that something listens on."""


def url(field: Field) -> str:
    """An http or https address with a host."""
    text = field.text(form="an address such as http://10.0.0.1:9400/metrics")
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not text.isascii() or not text.isprintable() or " " in text:
        field.refuse(f"expected an address such as http://10.0.0.1:9400/metrics, got {quoted(text)}")
    return text


def is_url_path(text: str) -> bool:
    """Whether `text` is the path of a URL as it stands in one."""
    return text.startswith("/") and text.isascii() and text.isprintable() and " " not in text


def url_path(field: Field) -> str:
    """The path of a URL."""
    text = field.text(form="a path such as /metrics")
    if not is_url_path(text):
        field.refuse(f"expected a path such as /metrics, got {quoted(text)}")
    return text


def different(field: Field, read: Callable[[Field], str]) -> tuple[str, ...]:
    """The elements of a list, none of them twice."""
    found: list[str] = []

    def add(item: Field) -> None:
        text = read(item)
        if text in found:
            item.refuse(f"{quoted(text)} is given twice")
        found.append(text)

    field.each(add)
    return tuple(found)


def pace(section: Section, default_interval: float) -> tuple[float, float]:
    """Interval and timeout of a scrape, the timeout shorter: one scrape is over before the next is due."""
    every = section.get("interval_seconds", interval, default_interval)
    timeout = section.get("timeout_seconds", positive_seconds, _TIMEOUT_SHARE * every)
    if timeout >= every and section.sound("interval_seconds"):
        section.refuse(["timeout_seconds"], f"expected less than interval_seconds ({every:g}), got {timeout:g}")
    return every, timeout
