"""Errors of connecting are causes in words."""

import errno
import socket
import ssl

import pytest

from infscale.process.connecting import connect_problem


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 80)"), "connection refused"),
        (OSError(errno.EHOSTUNREACH, ""), "no route to host"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "host name not found"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), "TLS handshake failed"),
        (OSError("several addresses failed"), "connection failed"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_why_a_connection_cannot_be_made(error: OSError, said: str) -> None:
    assert connect_problem(error) == said
