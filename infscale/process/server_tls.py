"""TLS that servers speak: certificates from files, followed while it runs, and client certificates where wanted."""

import asyncio
import ssl
from collections.abc import Sequence

from infscale.process.tls_files import FollowedFiles, TlsFiles, no_password

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class ServingTls:
    """The TLS context that new connections get; a change of the files makes the next one, a broken one changes nothing.

    `who` serves with the files, and speaks `protocols` (ALPN). `load` gives the context to listen with: it hands each
    connection over to the newest. `followed` looks for changes.
    """

    def __init__(self, who: str, files: TlsFiles, protocols: Sequence[str]) -> None:
        self.followed = FollowedFiles(who, files.paths, self._use)
        self._files = files
        self._protocols = protocols
        self._newest: ssl.SSLContext | None = None

    async def load(self) -> ssl.SSLContext:
        """Read the files for the first time. Raises `StartError` where they do not work."""
        await self.followed.load()
        listening = await asyncio.to_thread(_context, self._files, self._protocols)
        listening.sni_callback = self._hand_over
        return listening

    async def _use(self, _: Sequence[bytes]) -> None:
        self._newest = await asyncio.to_thread(_context, self._files, self._protocols)

    def _hand_over(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        if self._newest is not None:
            connection.context = self._newest


def _context(files: TlsFiles, protocols: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[files.min_version]
    context.set_alpn_protocols(list(protocols))
    context.load_cert_chain(files.certificate, files.key, password=no_password)
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.client_ca)
    return context
