"""A certificate and its key in files, read again when they change."""

import logging
import ssl
from pathlib import Path

import grpc

_LOG = logging.getLogger(__name__)

Pair = tuple[bytes, bytes]


class CertificateFiles:
    """Guards which version of the files is served with. gRPC asks before each handshake, from threads of its own."""

    def __init__(self, certificate: Path, key: Path, client_ca: bytes | None = None) -> None:
        self._client_ca = client_ca
        self._certificate = certificate
        self._key = key
        self._used: Pair | None = None
        self._refused: Pair | None = None
        self._configuration: grpc.ServerCertificateConfiguration | None = None

    def read(self) -> Pair:
        """The key and the certificate as they are now. Raises `OSError`. It blocks."""
        return self._key.read_bytes(), self._certificate.read_bytes()

    def current(self) -> "grpc.ServerCertificateConfiguration":
        """What to serve new connections with: the files as they are, or as they last were usable.

        Raises `OSError` where they cannot be read and never could.
        """
        try:
            pair = self.read()
            if pair not in (self._used, self._refused):
                self._use(pair)
        except OSError as error:
            if self._configuration is None:
                raise
            self._say(error.strerror or type(error).__name__)
        if self._configuration is None:
            raise OSError(None, "no certificate with its key", str(self._certificate))
        return self._configuration

    def _use(self, pair: Pair) -> None:
        try:
            # A half-written pair would break every handshake; the next one looks again.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key)
        except ssl.SSLError as error:
            self._refused = pair
            self._say(f"no certificate with its key ({error.reason or 'unreadable PEM'})")
            return
        if self._used is not None:
            _LOG.info("serving with the changed certificate in %s", self._certificate)
        self._used, self._refused = pair, None
        self._configuration = grpc.ssl_server_certificate_configuration([pair], self._client_ca)

    def _say(self, problem: str) -> None:
        if self._configuration is not None:
            _LOG.warning("the changed certificate in %s is refused, the old one stays: %s", self._certificate, problem)
