"""Single values of the configuration file: addresses, paths, URLs, numbers with a range."""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args
from urllib.parse import urlsplit

from infscale.config.settings import ListenAddress, PickerTlsFiles, TlsFiles, TlsVersion, keys_of
from infscale.documents.problems import Attempt
from infscale.documents.strict_document import Field, quoted, seconds_of_duration

MIN_INTERVAL_SECONDS = 0.01
MAX_SECONDS = 86_400.0

_MIN_BYTES = 1024
_MAX_BYTES = 1024**3
_MAX_PORT = 65535
_TLS_VERSIONS: tuple[TlsVersion, ...] = get_args(TlsVersion)
_LISTEN_FORM = "address:port, such as 127.0.0.1:9002 or [::1]:9002"
_LISTEN = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[^:]*)):(?P<port>0|[1-9][0-9]{0,4})")

T = TypeVar("T")
ChoiceT = TypeVar("ChoiceT", bound=str)


class Files:
    """Reads paths of files, relative ones starting at `base`; guards the list of what was named, and by which key."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.named: list[tuple[Field, Path]] = []

    def path(self, field: Field) -> Path:
        """The path of a file."""
        text = field.text()
        if "\0" in text:
            field.refuse("expected the path of a file")
        found = self._base / text
        self.named.append((field, found))
        return found


class Section:
    """The keys that the file gives of one section; `settings` is the dataclass whose fields are the allowed ones.

    Guards which of them were refused, so that nothing is concluded from a value that stands in for one.
    """

    def __init__(self, field: Field, settings: type[Any], required: Sequence[str] = ()) -> None:
        self.given: Mapping[str, Field] = field.mapping(
            required, [key for key in keys_of(settings) if key not in required]
        )
        self._refused: set[str] = set()

    def get(self, key: str, read: Callable[[Field], T], default: T) -> T:
        """The value of `key`, `default` where it is not given, or refused while problems are collected."""
        field = self.given.get(key)
        return default if field is None else self.attempt(key, read).or_else(default)

    def attempt(self, key: str, read: Callable[[Field], T]) -> Attempt[T]:
        """The value of a required `key`."""
        attempt = self.given[key].attempt(read)
        if attempt.refused:
            self._refused.add(key)
        return attempt

    def sound(self, *keys: str) -> bool:
        """Whether none of `keys` was refused."""
        return not self._refused.intersection(keys)

    def refuse(self, keys: Sequence[str], problem: str) -> None:
        """Refuse the first of `keys` that is given."""
        for key in keys:
            if key in self.given:
                self._refused.add(key)
                self.given[key].report(problem)
                return


def one_of(options: tuple[ChoiceT, ...]) -> Callable[[Field], ChoiceT]:
    """A reader of one of `options`."""

    def read(field: Field) -> ChoiceT:
        return options[options.index(field.choice(options))]

    return read


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


def byte_count(field: Field) -> int:
    """A limit in bytes."""
    return field.integer(_MIN_BYTES, _MAX_BYTES)


def tls_files(files: Files) -> Callable[[Field], TlsFiles]:
    """A reader of a certificate and its key."""

    def read(field: Field) -> TlsFiles:
        section = Section(field, TlsFiles, required=["certificate", "key"])
        certificate, key = (section.attempt(each, files.path) for each in ("certificate", "key"))
        return TlsFiles(certificate.value, key.value)

    return read


def picker_tls_files(files: Files) -> Callable[[Field], PickerTlsFiles]:
    """A reader of the picker's certificate, its key and how they are used."""

    def read(field: Field) -> PickerTlsFiles:
        section = Section(field, PickerTlsFiles, required=["certificate", "key"])
        certificate, key = (section.attempt(each, files.path) for each in ("certificate", "key"))
        reload = section.get("reload", Field.boolean, False)
        oldest = section.given.get("min_version")
        version: TlsVersion = (
            _TLS_VERSIONS[0] if oldest is None else oldest.attempt(_tls_version).or_else(_TLS_VERSIONS[0])
        )
        client_ca = section.get("client_ca", files.path, None)
        return PickerTlsFiles(certificate.value, key.value, reload, version, client_ca)

    return read


def _tls_version(field: Field) -> TlsVersion:
    read: Callable[[Field], TlsVersion] = one_of(_TLS_VERSIONS)
    return read(field)


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


def port(field: Field) -> int:
    """A port that something listens on."""
    return field.integer(1, _MAX_PORT)


def listen(field: Field) -> ListenAddress:
    """An address and port to listen on."""
    text = field.text(form=_LISTEN_FORM)
    found = _LISTEN.fullmatch(text)
    if found is not None and int(found["port"]) <= _MAX_PORT:
        host = found["v4"] if found["v6"] is None else found["v6"]
        if _is_host(host, version=4 if found["v6"] is None else 6):
            return ListenAddress(host, int(found["port"]))
    field.refuse(f"expected {_LISTEN_FORM}, got {quoted(text)}")


def _is_host(host: str, version: int) -> bool:
    try:
        return (host == "localhost" and version == 4) or ipaddress.ip_address(host).version == version
    except ValueError:
        return False


def loopback(why: str) -> Callable[[Field], ListenAddress]:
    """A reader of addresses that only this machine can reach; `why` completes the refusal of others."""

    def read(field: Field) -> ListenAddress:
        address = listen(field)
        if not address.is_loopback:
            field.refuse(f"expected a loopback address, such as 127.0.0.1:{address.port}, got {address}: {why}")
        return address

    return read
