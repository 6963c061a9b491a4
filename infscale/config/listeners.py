"""Where something listens, and with which certificates, as the configuration file writes it."""

from collections.abc import Callable
from typing import get_args

from infscale.config.settings import KedaTlsFiles, ListenAddress, PickerTlsFiles, TlsFiles, TlsVersion
from infscale.documents.section import Files, Section
from infscale.documents.strict_document import Field, quoted
from infscale.documents.values import one_of
from infscale.process.listening import PLACE_FORM, listening_place


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
        version: TlsVersion = section.get("min_version", one_of(get_args(TlsVersion)), "1.2")
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


def listen(field: Field) -> ListenAddress:
    """An address and port to listen on."""
    text = field.text(form=PLACE_FORM)
    place = listening_place(text)
    if place is not None:
        return ListenAddress(*place)
    field.refuse(f"expected {PLACE_FORM}, got {quoted(text)}")


def loopback(why: str) -> Callable[[Field], ListenAddress]:
    """A reader of addresses that only this machine can reach; `why` completes the refusal of others."""

    def read(field: Field) -> ListenAddress:
        address = listen(field)
        if not address.is_loopback:
            field.refuse(f"expected a loopback address, such as 127.0.0.1:{address.port}, got {address}: {why}")
        return address

    return read
