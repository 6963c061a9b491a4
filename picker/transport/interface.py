"""What a transport is told, whatever carries the bytes."""

from collections.abc import Callable
from dataclasses import dataclass

from infscale.process.tls_files import TlsFiles
from picker.ext_proc.exchange import Exchange

EXT_PROC_SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"

FOLLOW_SECONDS = 1.0
"""How often the files of a certificate are looked at."""

NewExchange = Callable[[], Exchange]
Clock = Callable[[], float]
Ready = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Where to listen and how to stop.

    Port 0 takes a free one. `health_port` serves health checks a second time, for probes that cannot use the first
    port, at `health_address` (None: the same address); None: it does not. `max_message_bytes` bounds one message of the
    gateway: Envoy sends bodies in messages as large as its buffers, of which 400 kB have been seen, so gRPC's default
    of 4 MB is near. At most `max_connections` are open at once, `max_peer_connections` of one address. What exchanges
    hold of bodies is at most `max_buffered_bytes` together; `max_body_bytes` is the longest there may be. A request
    that stops arriving, and an answer that its gateway does not take, have `body_timeout_seconds`; a new connection has
    `greeting_seconds` to show that it speaks HTTP/2 (and TLS), a frame or header block `frame_seconds`. On drain,
    health turns NOT_SERVING first and new exchanges are still taken for `notice_seconds`, so that gateways see it
    coming; then open exchanges have `drain_seconds` to end. With `any_health_service` health checks of any name but
    liveness mean readiness.
    """

    address: str = "127.0.0.1"
    port: int = 9002
    health_port: int | None = None
    health_address: str | None = None
    tls: TlsFiles | None = None
    max_message_bytes: int = 64 << 20
    notice_seconds: float = 0.0
    drain_seconds: float = 30.0
    max_connections: int = 1_000
    max_peer_connections: int = 256
    max_buffered_bytes: int = 192 << 20
    max_body_bytes: int = 32 << 20
    body_timeout_seconds: float = 30.0
    greeting_seconds: float = 10.0
    frame_seconds: float = 10.0
    any_health_service: bool = False

    def __post_init__(self) -> None:
        ports = (self.port, self.health_port or 0)
        if not all(0 <= port <= 65535 for port in ports):
            raise ValueError("ports are from 0 to 65535")
        if self.notice_seconds < 0 or self.drain_seconds < 0 or self.max_message_bytes < 1:
            raise ValueError("durations are not negative and max_message_bytes is positive")
