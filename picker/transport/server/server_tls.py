"""TLS of the http2 transport: certificates from files, followed while it runs, and client certificates where wanted."""

import asyncio
import logging
import ssl
from pathlib import Path

from infscale.errors import StartError
from picker.transport.interface import TlsFiles

_POLL_SECONDS = 1.0
_ALPN = ["h2"]
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


class ServingTls:
    """The TLS context that new connections get; a change of the files makes the next one, a broken one changes nothing.

    `listening` is the context to listen with: it hands each connection over to the newest.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp: _Stamp | None = None
        self._newest: ssl.SSLContext | None = None
        self.listening: ssl.SSLContext | None = None

    async def load(self) -> ssl.SSLContext:
        """Read the files for the first time. Raises `StartError` where they do not work."""
        try:
            self._stamp = await asyncio.to_thread(_stamp, self._files)
            self._newest = await asyncio.to_thread(_context, self._files)
            self.listening = await asyncio.to_thread(_context, self._files)
        except OSError as error:
            place = error.filename or self._files.certificate
            raise StartError(f"the picker cannot read its certificate: {place}: {error.strerror or error}") from error
        self.listening.sni_callback = self._hand_over
        return self.listening

    async def follow(self) -> None:
        """Look at the files again and again, for ever; not at all where that is not wanted."""
        while self._files.reload:
            await asyncio.sleep(_POLL_SECONDS)
            await self.refresh()

    async def refresh(self) -> bool:
        """Use the files if they changed and work; says whether they are in use now."""
        try:
            stamp = await asyncio.to_thread(_stamp, self._files)
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            self._newest = await asyncio.to_thread(_context, self._files)
        except OSError as error:
            _log.warning(
                "the changed certificate in %s is refused, the old one stays: %s",
                self._files.certificate,
                error.strerror or error,
            )
            return False
        _log.info("serving with the changed certificate in %s", self._files.certificate)
        return True

    def _hand_over(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if self._newest is not None:
            connection.context = self._newest


def _stamp(files: TlsFiles) -> _Stamp:
    return tuple(_file_stamp(path) for path in (files.key, files.certificate, files.client_ca) if path is not None)


def _file_stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[files.min_version]
    context.set_alpn_protocols(_ALPN)
    for path in (files.key, files.certificate):
        # Names the file that is missing, which OpenSSL does not.
        path.read_bytes()
    context.load_cert_chain(files.certificate, files.key)
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.client_ca)
    return context
