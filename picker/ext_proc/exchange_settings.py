"""How exchanges behave: one value, shared by all of them."""

from collections.abc import Callable
from dataclasses import dataclass

from infscale.client_headers import ignored
from picker.ext_proc.immediate_answers import ErrorFormat
from picker.parsing import DEFAULT_PARSERS, ParserTable
from picker.request import Decision, InferenceRequest
from picker.response import ReportedAttribute


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """How exchanges behave.

    `error_format` words immediate answers; "reference" also marks and re-sets response headers, as that picker does,
    and `echo_request_headers` re-sets the request's. `buffer_responses` holds a response that is no event stream until
    its end. A body over `max_body_bytes` is answered 413; the default takes long prompts with images.
    `destination_count` is how many destinations are sent: 1 for gateways that refuse a list (ORIGINAL_DST). Without
    `subset_hints` the gateway's word on which endpoints to pick from is passed over. `attributes` are told to the
    gateway at the end of a response that it shows; with `report_served`, its headers name the endpoint that answered.
    `ignored_headers` of requests are taken for absent: clients can write them. With `tell_revision` the gateway is told
    on which revision of the store a request was decided. A response has the id of its pick where the request asks for
    it, or with `tell_picks`. A body of `large_body_bytes` or more, as it
    comes or decoded, is read in steps. `sent` is told of each request with a body that is sent to a destination: its
    decision, and the body decoded; it returns at once.
    """

    error_format: ErrorFormat = "openai"
    echo_request_headers: bool = False
    buffer_responses: bool = False
    max_body_bytes: int = 32 << 20
    destination_count: int = 1
    parsers: ParserTable = DEFAULT_PARSERS
    subset_hints: bool = True
    attributes: tuple[ReportedAttribute, ...] = ()
    report_served: bool = False
    ignored_headers: frozenset[str] = ignored(())
    tell_revision: bool = False
    tell_picks: bool = False
    large_body_bytes: int = 1 << 18
    sent: Callable[[InferenceRequest, Decision, bytes], None] | None = None

    def __post_init__(self) -> None:
        if self.max_body_bytes < 1 or self.destination_count < 1:
            raise ValueError("max_body_bytes and destination_count are at least 1")
