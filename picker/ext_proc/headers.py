"""Header names of the endpoint picker protocol, and what the exchange reads from and writes into headers."""

from collections import Counter
from typing import Final

from picker.ext_proc.messages import HeaderItems
from picker.request import Headers

DESTINATION: Final = "x-gateway-destination-endpoint"
DESTINATION_SCORES: Final = "x-gateway-destination-endpoint-scores"
REQUEST_ID: Final = "x-request-id"
CONTENT_ENCODING: Final = "content-encoding"
# The reference picker writes this name with capitals; gateways compare names without regard to case.
CONTENT_LENGTH: Final = "Content-Length"
SERVED_REPORT: Final = "x-conformance-test-served-endpoint"
"""The header in which conformance suites of gateways read which endpoint answered."""
EXPLAIN: Final = "x-infscale-explain"
"""The request header, of whatever value, that asks for the id of the pick."""
PICK: Final = "x-infscale-pick"
"""The response header with the id of the pick."""
FALLBACK: Final = "x-infscale-fallback"
"""Tells a client, in the response, and the endpoint, in the request, that it is not the pool or model asked for."""
SHADOW: Final = "x-infscale-shadow"
"""The request header that a copy has, of which no other is made."""
NOBODY_SERVED: Final = "fail: missing envoy lb metadata"
MARKER: Final = ("x-went-into-resp-headers", b"true")

# Owned by the protocol: read or written by the picker, never set again on the client's behalf.
_SYSTEM_OWNED: Final = frozenset(
    {
        "content-length",
        DESTINATION,
        "x-gateway-destination-endpoint-served",
        "x-gateway-destination-endpoint-subset",
        "x-gateway-inference-fairness-id",
        "x-gateway-inference-objective",
        "x-gateway-model-name-rewrite",
        "x-llm-d-inference-fairness-id",
        "x-llm-d-inference-objective",
        "x-llm-d-model-name-rewrite",
        "x-llm-d-request-dropped-reason",
        "x-llm-d-slo-tpot-ms",
        "x-llm-d-slo-ttft-ms",
        "x-slo-tpot-ms",
        "x-slo-ttft-ms",
    }
)


def request_path(headers: Headers) -> str:
    """The path the client asked for: gateways that rewrite it keep the original aside, once. Empty: not sent."""
    return headers.single("x-original-path") or headers.get(":path") or ""


def response_status(headers: Headers) -> int | None:
    """The upstream's status code; None where the headers carry none, or none that there can be."""
    status = _number(headers.get(":status") or headers.get("status"))
    return status if status is not None and 100 <= status <= 999 else None


def content_length(headers: Headers) -> int | None:
    """The announced size of the body in bytes; None: not announced."""
    return _number(headers.get("content-length"))


def wants_upgrade(headers: Headers) -> bool:
    """Whether the client asks for another protocol on this connection; h2c is HTTP still and has an ordinary body.

    Gateways switch protocols only where ``connection`` names the upgrade; without it the request is an ordinary one.
    """
    upgrade = headers.get("upgrade")
    if upgrade is None or upgrade.strip().lower() in ("", "h2c"):
        return False
    options = (headers.get("connection") or "").lower().split(",")
    return any(option.strip() == "upgrade" for option in options)


def echoed(headers: Headers) -> HeaderItems:
    """The headers that can be set again unchanged: not the protocol's own, and not those that occur more than once.

    Setting overwrites, so a repeated header would lose values; unset, it stays as it is.
    """
    counts = Counter(name for name, _ in headers)
    return tuple((name, value) for name, value in headers if name not in _SYSTEM_OWNED and counts[name] == 1)


def _number(text: str | None) -> int | None:
    return int(text) if text and len(text) < 20 and text.isascii() and text.isdecimal() else None
