"""The certificate that gRPC serves with, from files that are followed."""

import asyncio
import ssl
from collections.abc import Sequence

import grpc

from infscale.process.tls_files import FollowedFiles, TlsFiles, no_password


class CertificateFiles:
    """Guards which version of the files is served with; `followed` looks for changes."""

    def __init__(self, files: TlsFiles) -> None:
        self.followed = FollowedFiles("the picker", files.paths, self._use)
        self._files = files
        self._configuration: grpc.ServerCertificateConfiguration | None = None

    async def load(self) -> grpc.ServerCredentials:
        """Read the files for the first time; gives what to listen with. Raises `StartError` where they do not work."""
        await self.followed.load()
        return grpc.dynamic_ssl_server_credentials(self.current(), self.current, self._files.client_ca is not None)

    def current(self) -> "grpc.ServerCertificateConfiguration":
        """What to serve new connections with. gRPC asks before each handshake, from threads of its own."""
        if self._configuration is None:
            raise RuntimeError("the files were not loaded")
        return self._configuration

    async def _use(self, contents: Sequence[bytes]) -> None:
        certificate, key, *client_ca = contents
        # gRPC itself says nothing: with a half-written pair every handshake would fail.
        await asyncio.to_thread(_check, self._files)
        self._configuration = grpc.ssl_server_certificate_configuration([(key, certificate)], *client_ca)


def _check(files: TlsFiles) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key, password=no_password)
