"""Asks a picker for one endpoint after another, quietly, and prints what came: `python -m tests.hostile.prober PORT`.

It is a process of its own, so that what an attacker's process does with its time is not measured. Every request is an
exchange as a gateway has it: a stream on one connection, headers, a body of 1 KB, and the end once the answer has come.
A line is `[at, seconds, answer, late]` in JSON: monotonic seconds of the machine when it was asked, how long the answer
took, the destination, the status of an immediate answer, or what went wrong, and how much later than it should this
process woke up before: what a busy machine makes every process wait, whatever infscale does.
"""

import argparse
import select
import socket
import sys
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import orjson

from picker.proto import ext_proc_pb2 as pb
from picker.transport.interface import EXT_PROC_SERVICE
from tests.picker.transport import gateway

DESTINATION = "x-gateway-destination-endpoint"
_ANSWER_SECONDS = 5.0
_PREFIX_BYTES = 5
_REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", f"/{EXT_PROC_SERVICE}/Process"),
    (":authority", "picker"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]


def framed(message: bytes) -> bytes:
    """A message as gRPC writes it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Prober:
    """One connection of a gateway."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        self._send()

    def close(self) -> None:
        self._socket.close()

    def ask(self, number: int) -> str:
        """One exchange. Raises `OSError` or `h2.exceptions.ProtocolError` where there is no answer."""
        body = b'{"model":"m","max_tokens":16,"prompt":"%d %s"}' % (number, b"word " * 200)
        sent = framed(gateway.headers((":path", "/v1/completions"), (":method", "POST"))) + framed(gateway.body(body))
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, _REQUEST)
        self._h2.send_data(stream, sent)
        self._send()
        heard = b""
        while True:
            for event in self._events():
                if isinstance(event, h2.events.DataReceived) and event.stream_id == stream:
                    heard += event.data
                elif isinstance(event, h2.events.StreamReset | h2.events.StreamEnded) and event.stream_id == stream:
                    return _answer(heard) or "ended without an answer"
                elif isinstance(event, h2.events.ConnectionTerminated):
                    raise ConnectionError("the picker said goodbye")
            answer = _answer(heard)
            if answer is not None:
                self._h2.reset_stream(stream, h2.errors.ErrorCodes.NO_ERROR)
                self._send()
                return answer

    def _events(self) -> list[h2.events.Event]:
        data = self._socket.recv(65_536)
        if not data:
            raise ConnectionError("the picker closed the connection")
        events = self._h2.receive_data(data)
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self._send()
        return events

    def _send(self) -> None:
        self._socket.sendall(self._h2.data_to_send())


def _answer(heard: bytes) -> str | None:
    """What the first message says; None before it is whole."""
    if len(heard) < _PREFIX_BYTES:
        return None
    stop = _PREFIX_BYTES + int.from_bytes(heard[1:_PREFIX_BYTES], "big")
    if len(heard) < stop:
        return None
    reply = pb.ProcessingResponse.FromString(heard[_PREFIX_BYTES:stop])
    if reply.HasField("immediate_response"):
        return str(reply.immediate_response.status.code)
    for option in reply.request_headers.response.header_mutation.set_headers:
        if option.header.key == DESTINATION:
            return option.header.raw_value.decode()
    return "no destination"


def main() -> None:
    """Ask until killed, or until standard input ends."""
    parser = argparse.ArgumentParser(description="Ask a picker again and again and print how long it takes.")
    parser.add_argument("port", type=int)
    parser.add_argument("--pause", type=float, default=0.005, help="seconds between two requests (default %(default)s)")
    asked = parser.parse_args()
    prober: Prober | None = None
    number = 0
    slept = time.monotonic()
    while not select.select([sys.stdin], [], [], asked.pause)[0]:
        number += 1
        started = time.monotonic()
        late = max(0.0, started - slept - asked.pause)
        try:
            prober = prober or Prober(asked.port)
            answer = prober.ask(number)
        except (OSError, h2.exceptions.ProtocolError) as error:
            answer = f"{type(error).__name__}: {error}"
            if prober is not None:
                prober.close()
            prober = None
        line = orjson.dumps([started, time.monotonic() - started, answer, late])
        print(line.decode(), flush=True)
        slept = time.monotonic()


if __name__ == "__main__":
    main()
