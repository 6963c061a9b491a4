"""HTTPS for the adapter: a certificate it is given, followed live, or one it makes for itself."""

import asyncio
import logging
import os
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapter.registering.issuing import Authority, Subject
from infscale.errors import StartError
from infscale.process.certificates import CertificatePair

_LIFETIME = timedelta(days=3650)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Which certificate to serve with.

    `cert_file` and `key_file` (PEM, both or neither) are followed every `poll_seconds`. Without them one is made at
    every start, for loopback and for ``<service>.<namespace>.svc``. With `ask_clients` clients are asked for theirs.
    """

    cert_file: Path | None = None
    key_file: Path | None = None
    service: str = "infscale-adapter"
    namespace: str = "infscale-system"
    poll_seconds: float = 10.0
    ask_clients: bool = False

    @property
    def subject(self) -> Subject:
        """The subject of a made certificate."""
        return Subject(self.service, self.namespace)

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("a certificate file and a key file come together")
        if self.poll_seconds <= 0:
            raise ValueError("certificate files are polled every so many positive seconds")


class ServingCertificate:
    """The certificate the adapter serves with, and the TLS context that follows it.

    `load` once before serving, then run `follow`. A pair that does not work is refused and the one before stays.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._tried: tuple[tuple[int, int, int], ...] | None = None
        self.context = _server_context()
        if settings.ask_clients:
            # Asked for, not demanded: others come with a token, probes with nothing.
            self.context.verify_mode = ssl.CERT_OPTIONAL
        self.ca_pem: bytes | None = None

    async def load(self) -> None:
        """Make or read the first certificate. Raises `StartError`."""
        settings = self._settings
        if settings.cert_file is None or settings.key_file is None:
            self.ca_pem, pair = await asyncio.to_thread(_made, settings.subject)
            await self.use(pair)
            return
        try:
            await self.use(await asyncio.to_thread(self._read, settings.cert_file, settings.key_file))
        except (OSError, ValueError) as error:
            raise StartError(
                f"adapter: cannot serve with {settings.cert_file} and {settings.key_file}: {_problem(error)}; "
                "give a PEM certificate and its PEM key, or neither"
            ) from None

    async def follow(self) -> None:
        """Use changed files as they change, for ever."""
        settings = self._settings
        if settings.cert_file is None or settings.key_file is None:
            return
        while True:
            await asyncio.sleep(settings.poll_seconds)
            await self.refresh()

    async def refresh(self) -> bool:
        """Use the files if they changed and work; says whether they are in use now."""
        cert_file, key_file = self._settings.cert_file, self._settings.key_file
        if cert_file is None or key_file is None:
            return False
        try:
            if await asyncio.to_thread(_signature, cert_file, key_file) == self._tried:
                return False
            await self.use(await asyncio.to_thread(self._read, cert_file, key_file))
        except (OSError, ValueError) as error:
            _log.warning("the changed certificate in %s is refused, the old one stays: %s", cert_file, _problem(error))
            return False
        _log.info("serving with the changed certificate in %s", cert_file)
        return True

    def _read(self, cert_file: Path, key_file: Path) -> CertificatePair:
        # Noted before reading: files that change in between look changed again at the next poll.
        self._tried = _signature(cert_file, key_file)
        return CertificatePair(cert_file.read_bytes(), key_file.read_bytes())

    def trust(self, ca_pem: str) -> None:
        """Take client certificates of these CAs from new connections on, beside those taken before.

        OpenSSL only adds, and takes a certificate of any CA it knows: it is no more than the gate. Whose certificate
        it is, and whether its CA is still trusted, is found out for each request.
        """
        if ca_pem:
            self.context.load_verify_locations(cadata=ca_pem)

    async def use(self, pair: CertificatePair) -> None:
        """Serve new connections with `pair`. Raises `OSError` or `ValueError` where it does not work."""
        # OpenSSL takes keys from files; these are private and live as long as the loading.
        folder = await asyncio.to_thread(_tried, pair)
        try:
            # On the loop's thread, where handshakes run: the context may not change under one of them.
            _load(self.context, folder.name)
        finally:
            await asyncio.to_thread(folder.cleanup)


def _made(subject: Subject) -> tuple[bytes, CertificatePair]:
    """A CA and a serving certificate of it. The CA's key is forgotten at once."""
    now = datetime.now(UTC).replace(microsecond=0)
    authority = Authority.made(now, _LIFETIME)
    return authority.pem, authority.issue(subject, now, _LIFETIME)


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A client could have us shake hands again and again on one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _tried(pair: CertificatePair) -> "tempfile.TemporaryDirectory[str]":
    """The pair in files only this user can read, after it was loaded once.

    It is loaded into a context of its own, because a failed load leaves a context with half a pair.
    """
    folder = tempfile.TemporaryDirectory(prefix="infscale-tls-")
    try:
        for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
            with open(os.open(Path(folder.name, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(content)
        _load(_server_context(), folder.name)
    except BaseException:
        folder.cleanup()
        raise
    return folder


def _load(context: ssl.SSLContext, folder: str) -> None:
    context.load_cert_chain(Path(folder, "tls.crt"), Path(folder, "tls.key"), password=_no_password)


def _no_password() -> str:
    raise ValueError("the key is encrypted, and there is nobody to type a password")


def _signature(*files: Path) -> tuple[tuple[int, int, int], ...]:
    stats = [file.stat() for file in files]
    return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in stats)


def _problem(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no certificate with its key ({error.reason or 'unreadable PEM'})"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
