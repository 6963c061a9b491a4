"""Where grpcio's asyncio servers listen."""

import grpc
import grpc.aio

from infscale.errors import StartError


def bind(who: str, server: grpc.aio.Server, place: str, key: str, credentials: grpc.ServerCredentials | None) -> int:
    """Have `server` listen at `place` (address:port), in plain text where `credentials` are None; gives its port.

    Raises `StartError`, which names `who` and says what to do; `key` is what chooses the place.
    """
    try:
        if credentials is None:
            return server.add_insecure_port(place)
        return server.add_secure_port(place, credentials)
    except RuntimeError as error:
        # gRPC says no more than that it failed.
        cause = "the port is taken, or the address is not this machine's"
        remedy = f"choose another with {key}, or stop what has it"
        raise StartError(f"{who} cannot listen on {place}: {cause}; {remedy}") from error
