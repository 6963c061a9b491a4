"""The client certificate of a connection."""

import asyncio
import ssl

from adapter.access.client_certificate import Peer


def peer_of(transport: asyncio.BaseTransport | None) -> Peer | None:
    """The certificate that the client of `transport` proved to own; None without one or without TLS."""
    connection = None if transport is None else transport.get_extra_info("ssl_object")
    if not isinstance(connection, ssl.SSLObject):
        return None
    certificate = connection.getpeercert(binary_form=True)
    if certificate is None:
        return None
    # Python shows what came along with it from 3.13 on.
    sent = getattr(connection, "get_unverified_chain", None)
    return Peer(certificate, () if sent is None else tuple(sent()[1:]))
