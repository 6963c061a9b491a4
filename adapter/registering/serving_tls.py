"""HTTPS for the adapter: a certificate it is given, followed live, or one it makes for itself."""

import asyncio
import os
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapter.registering.issuing import Authority, Subject
from infscale.process.certificates import CertificatePair
from infscale.process.tls_files import FollowedFiles, no_password

_LIFETIME = timedelta(days=3650)


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

    `load` once before serving, then run `follow`; `followed` looks for changes, None where no files are given.
    """

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        files = [path for path in (settings.cert_file, settings.key_file) if path is not None]
        self.followed = FollowedFiles("the adapter", files, self._use_files) if files else None
        self.context = _server_context()
        if settings.ask_clients:
            # Asked for, not demanded: others come with a token, probes with nothing.
            self.context.verify_mode = ssl.CERT_OPTIONAL
        self.ca_pem: bytes | None = None

    async def load(self) -> None:
        """Make or read the first certificate. Raises `StartError`."""
        if self.followed is not None:
            await self.followed.load()
            return
        self.ca_pem, pair = await asyncio.to_thread(_made, self._settings.subject)
        await self.use(pair)

    async def follow(self) -> None:
        """Use changed files as they change, for ever."""
        if self.followed is not None:
            await self.followed.follow(self._settings.poll_seconds)

    async def _use_files(self, contents: Sequence[bytes]) -> None:
        await self.use(CertificatePair(*contents))

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
    context.load_cert_chain(Path(folder, "tls.crt"), Path(folder, "tls.key"), password=no_password)
