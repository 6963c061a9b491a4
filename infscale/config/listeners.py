"""Where something listens, and with which certificates, as the configuration file writes it."""

import ipaddress
import re
from collections.abc import Callable
from typing import get_args

from infscale.config.settings import KedaTlsFiles, ListenAddress, PickerTlsFiles, TlsFiles, TlsVersion
from infscale.documents.section import Files, Section
from infscale.documents.strict_document import Field, quoted
from infscale.documents.values import MAX_PORT, one_of

_TLS_VERSIONS: tuple[TlsVersion, ...] = get_args(TlsVersion)
_LISTEN_FORM = "address:port, such as 127.0.0.1:9002 or [::1]:9002"
_LISTEN = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[^:]*)):(?P<port>0|[1-9][0-9]{0,4})")


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


def keda_tls_files(files: Files) -> Callable[[Field], KedaTlsFiles]:
    """A reader of the external scaler's certificate, its key, and the authority of clients."""

    def read(field: Field) -> KedaTlsFiles:
        section = Section(field, KedaTlsFiles, required=["certificate", "key"])
        certificate, key = (section.attempt(each, files.path) for each in ("certificate", "key"))
        return KedaTlsFiles(certificate.value, key.value, section.get("client_ca", files.path, None))

    return read


def _tls_version(field: Field) -> TlsVersion:
    read: Callable[[Field], TlsVersion] = one_of(_TLS_VERSIONS)
    return read(field)


def listen(field: Field) -> ListenAddress:
    """An address and port to listen on."""
    text = field.text(form=_LISTEN_FORM)
    found = _LISTEN.fullmatch(text)
    if found is not None and int(found["port"]) <= MAX_PORT:
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
