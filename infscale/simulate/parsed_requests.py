"""Virtual requests as the picker would have read them: the same values as its parser gives for the body."""

from infscale.sim.load.virtual_request import VirtualRequest
from picker.request import Headers, InferenceRequest, ParsedBody


def parsed_body(request: VirtualRequest) -> ParsedBody:
    """What the parser gives for the body of `request`."""
    return ParsedBody(
        request.api,
        request.model,
        request.prompt(),
        request.prompt_tokens,
        request.max_output_tokens,
        has_model=True,
        needs_model=True,
    )


def inference_request(request: VirtualRequest, number: int, headers: Headers) -> InferenceRequest:
    """`request` as a director is asked about it."""
    return InferenceRequest(f"{number:08x}", request.path, headers, parsed_body(request))
