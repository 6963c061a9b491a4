"""Connections that are read through at once."""

from picker.transport.h2.connection import ServerConnection
from picker.transport.h2.events import Event
from picker.transport.server.calls import Calls


def hear(connection: ServerConnection, data: bytes) -> list[Event]:
    """All that streams hear of what came, in order."""
    connection.feed(data)
    return connection.read()


def receive(calls: Calls, data: bytes) -> None:
    """Have calls take in what came, all at once."""
    calls.h2.feed(data)
    while calls.pending:
        calls.work(100)
    while calls.stepping:
        calls.step()
