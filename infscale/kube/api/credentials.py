"""Keeps the credentials of the API server in force: read again from time to time, and when the server refuses them."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from infscale.errors import ConfigError
from infscale.kube.api.client import Credentials
from infscale.process.tls_files import no_password, tls_problem

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class Tls:
    """How TLS is spoken: all that was read, so that equal values need no new context.

    `ca` is PEM (None: the CAs of the system). OpenSSL takes certificates and keys from files only; `certificate` and
    `key` are what they contained.
    """

    ca: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """A context for new connections. Reads files; raises `OSError` and `ValueError`."""
        context = ssl.create_default_context(cadata=self.ca)
        # Go, and so every other client of the API server, takes CA certificates without key identifiers.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file, password=no_password)
        return context


@dataclass(frozen=True, slots=True, repr=False)
class Found:
    """The server and what it takes to speak to it, as found just now; `tls` is None for plain HTTP."""

    server: str
    authorization: str | None = None
    tls: Tls | None = None
    server_name: str | None = None
    proxy: str | None = None


class Origin(Protocol):
    """Where credentials come from."""

    async def find(self, *, anew: bool) -> Found:
        """What is there now; with `anew` nothing remembered may be used. Raises `ConfigError`."""
        ...


class Keeper:
    """Has the credentials of the moment; guards what was found last.

    A `CredentialSource` for `KubeClient`: the same object is handed out until something changed. `refusal_seconds` lie
    between two renewals that a refusal asks for.
    """

    def __init__(self, origin: Origin, clock: Callable[[], float], refusal_seconds: float = 5.0) -> None:
        self._origin = origin
        self._clock = clock
        self._refusal_seconds = refusal_seconds
        self._found: Found | None = None
        self._current = Credentials()
        self._renewed_at: float | None = None
        self._said: str | None = None
        self._lock = asyncio.Lock()

    async def load(self) -> str:
        """Find the first credentials, and return the server's URL. Raises `ConfigError`."""
        await self._find(anew=False)
        if self._found is None:
            raise AssertionError("nothing was found, and nothing was raised")
        if self._found.tls is not None and not self._found.tls.verify:
            _log.warning("the API server's certificate is not verified: the kubeconfig says insecure-skip-tls-verify")
        return self._found.server

    async def credentials(self, refused: Credentials | None = None) -> Credentials:
        """What to send now; refused credentials are renewed unless that was just done."""
        if refused is not None:
            async with self._lock:
                if refused is self._current and self._may_renew():
                    await self._refresh(anew=True)
        return self._current

    async def follow(self, every_seconds: float) -> None:
        """Look for changed credentials for ever; where that fails, the last ones stay."""
        while True:
            await asyncio.sleep(every_seconds)
            async with self._lock:
                await self._refresh(anew=False)

    def _may_renew(self) -> bool:
        now = self._clock()
        if self._renewed_at is not None and now - self._renewed_at < self._refusal_seconds:
            return False
        self._renewed_at = now
        return True

    async def _refresh(self, *, anew: bool) -> None:
        try:
            await self._find(anew=anew)
        except ConfigError as error:
            if str(error) != self._said:
                self._said = str(error)
                _log.warning("credentials for the API server are not renewed, the last ones stay: %s", error)
            return
        self._said = None

    async def _find(self, *, anew: bool) -> None:
        found = await self._origin.find(anew=anew)
        if found == self._found:
            return
        tls = self._current.tls
        if self._found is None or found.tls != self._found.tls:
            tls = await self._context(found)
        self._found = found
        self._current = Credentials(found.authorization, tls, found.server_name, found.proxy)

    async def _context(self, found: Found) -> ssl.SSLContext | None:
        if found.tls is None:
            return None
        try:
            return await asyncio.to_thread(found.tls.context)
        except (OSError, ValueError) as error:
            raise ConfigError(found.server, "certificates", tls_problem(error)) from None
