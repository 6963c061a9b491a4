"""Prometheus servers as the configuration names them: addresses, credentials in files, limits."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from infscale.documents import values
from infscale.documents.section import NOT_A_KEY, Files, Section
from infscale.documents.strict_document import Field, quoted
from infscale.prometheus.api_answer import AnswerLimits

_MAX_WORKERS: Final = 16
_MAX_TIMEOUT_SECONDS: Final = 60.0
_MAX_PER_SECOND: Final = 1_000.0
_MAX_SERIES: Final = 100_000
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_SENT_BY_US: Final = frozenset({"authorization", "host", "content-length", "content-type", "accept-encoding"})


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """A user, and the file that holds the password."""

    username: str
    password_file: Path


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One server. `url` is where its API's path begins; all files are read again when they change.

    A query has `timeout_seconds` from beginning to end; `workers` of them run at a time, and `queries_per_second` begin
    at most. `headers` are sent with each,
    and may hold secrets. With `partial_answers` an answer that the server warns of is used.
    """

    name: str = field(metadata=NOT_A_KEY)
    url: str = field(repr=False)
    timeout_seconds: float = 5.0
    workers: int = 4
    queries_per_second: float = 20.0
    max_bytes: int = AnswerLimits().max_bytes
    max_series: int = AnswerLimits().max_series
    partial_answers: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    verify_tls: bool = True
    token_file: Path | None = None
    basic_auth: BasicAuth | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def limits(self) -> AnswerLimits:
        """What is read of an answer."""
        return AnswerLimits(self.max_bytes, self.max_series, self.partial_answers)


def servers(files: Files) -> Callable[[Field], Mapping[str, ServerSettings]]:
    """A reader of servers by name."""

    def read(section: Field) -> Mapping[str, ServerSettings]:
        found: dict[str, ServerSettings] = {}
        for name, each in section.entries().items():
            if not _NAME.fullmatch(name):
                each.report(f"a server's name has 1 to 60 letters, digits, _ . and -, got {quoted(name)}")
                continue
            attempt = each.attempt(lambda given: _server(given, files))
            if not attempt.refused:
                found[name] = replace(attempt.value, name=name)
        if not section.entries():
            section.report("expected at least one server by name")
        return MappingProxyType(found)

    return read


def _server(given: Field, files: Files) -> ServerSettings:
    section = Section(given, ServerSettings, required=["url"])
    url = section.attempt("url", _url)
    default = ServerSettings("", "")
    if "basic_auth" in section.given:
        section.refuse(["token_file"], "give either token_file or basic_auth, not both")
    if ("certificate" in section.given) != ("key" in section.given):
        section.refuse(["certificate", "key"], "certificate and key go together")
    if not url.refused and url.value.startswith("http://"):
        section.refuse(["ca", "certificate", "key", "verify_tls"], "goes with an https address")
    no_headers: tuple[tuple[str, str], ...] = ()
    return ServerSettings(
        name="",
        url=url.value,
        timeout_seconds=section.get("timeout_seconds", _timeout, default.timeout_seconds),
        workers=section.get("workers", _workers, default.workers),
        queries_per_second=section.get("queries_per_second", _per_second, default.queries_per_second),
        max_bytes=section.get("max_bytes", values.byte_count, default.max_bytes),
        max_series=section.get("max_series", _series, default.max_series),
        partial_answers=section.get("partial_answers", Field.boolean, default.partial_answers),
        ca=section.get("ca", files.path, None),
        certificate=section.get("certificate", files.path, None),
        key=section.get("key", files.path, None),
        verify_tls=section.get("verify_tls", Field.boolean, default.verify_tls),
        token_file=section.get("token_file", files.path, None),
        basic_auth=section.get("basic_auth", lambda each: _basic_auth(each, files), None),
        headers=section.get("headers", _headers, no_headers),
    )


def _url(field: Field) -> str:
    text = values.url(field)
    if "@" in text or "?" in text or "#" in text:
        field.refuse("expected an address without user, query and fragment: credentials are in files (token_file)")
    return text.rstrip("/")


def _timeout(field: Field) -> float:
    return field.number(values.MIN_INTERVAL_SECONDS, _MAX_TIMEOUT_SECONDS)


def _workers(field: Field) -> int:
    return field.integer(1, _MAX_WORKERS)


def _per_second(field: Field) -> float:
    return field.number(0.01, _MAX_PER_SECOND)


def _series(field: Field) -> int:
    return field.integer(1, _MAX_SERIES)


def _basic_auth(field: Field, files: Files) -> BasicAuth:
    section = Section(field, BasicAuth, required=["username", "password_file"])
    username = section.attempt("username", _username)
    password = section.attempt("password_file", files.path)
    return BasicAuth(username.value, password.value)


def _username(field: Field) -> str:
    text = field.text()
    if ":" in text or not text.isprintable():
        field.refuse("expected a user's name without ':'")
    return text


def _headers(field: Field) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for name, each in field.entries().items():
        text = each.attempt(lambda given: given.text(empty=True)).or_else("")
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _SENT_BY_US:
            each.report("no header that can be set here")
        elif not text.isascii() or not (text.isprintable() or not text):
            each.report("a header's value has printable ASCII characters alone")
        else:
            found[name] = text
    return tuple(found.items())
