"""The certificate that a grpcio server serves with, from files that are followed."""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path

import grpc

from infscale.process.tls_files import FollowedFiles, no_password


class GrpcCertificate:
    """Guards which version of the files `who` serves with; `followed` looks for changes.

    With `client_ca` only clients with a certificate of that authority are served.
    """

    def __init__(self, who: str, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        files = (certificate, key, *([] if client_ca is None else [client_ca]))
        self.followed = FollowedFiles(who, files, self._use)
        self._certificate = certificate
        self._key = key
        self._asks_clients = client_ca is not None
        self._configuration: grpc.ServerCertificateConfiguration | None = None

    async def load(self) -> grpc.ServerCredentials:
        """Read the files for the first time; gives what to listen with. Raises `StartError` where they do not work."""
        await self.followed.load()
        return grpc.dynamic_ssl_server_credentials(self.current(), self.current, self._asks_clients)

    def current(self) -> "grpc.ServerCertificateConfiguration":
        """What to serve new connections with. gRPC asks before each handshake, from threads of its own."""
        if self._configuration is None:
            raise RuntimeError("the files were not loaded")
        return self._configuration

    async def _use(self, contents: Sequence[bytes]) -> None:
        certificate, key, *client_ca = contents
        # gRPC itself says nothing: with a half-written pair every handshake would fail.
        await asyncio.to_thread(_check, self._certificate, self._key)
        self._configuration = grpc.ssl_server_certificate_configuration([(key, certificate)], *client_ca)


def _check(certificate: Path, key: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key, password=no_password)
