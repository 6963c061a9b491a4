"""A gRPC server's port: any free one, one with TLS, or why there is none."""

import socket

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from infscale.errors import StartError
from infscale.process.grpc_listening import bind
from tests.fakes.certificates import SERVER, authority


async def test_a_port_that_is_free_is_taken_with_tls_and_without() -> None:
    issued = authority("servers").issue("localhost", usage=SERVER)
    key = issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    credentials = grpc.ssl_server_credentials([(key, issued.pem.encode())])
    for each in (None, credentials):
        assert bind("the part", grpc.aio.server(), "127.0.0.1:0", "part.listen", each) > 0


@pytest.mark.parametrize("credentials", [None, grpc.ssl_server_credentials([(b"key", b"certificate")])])
async def test_a_port_that_cannot_be_had_is_named_with_what_to_do(credentials: grpc.ServerCredentials | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        with pytest.raises(StartError) as raised:
            bind("the part", server, place, "part.listen", credentials)
    assert str(raised.value) == (
        f"the part cannot listen on {place}: the port is taken, or the address is not this machine's; "
        "choose another with part.listen, or stop what has it"
    )
