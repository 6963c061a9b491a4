"""What is known of a request alone that decides about its copy: whether there is one, and what it says."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
import xxhash

from infscale.config.shadow_settings import ShadowSettings
from infscale.endpoint import ObjectKey
from picker.ext_proc.headers import REQUEST_ID, SHADOW
from picker.parsing import with_model
from picker.request import Api, Headers, InferenceRequest, ParsedBody

PATHS: Final[dict[Api, str]] = {
    "chat_completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}
"""The APIs whose requests are copied, and the path of each as model servers have it, whatever the gateway's is."""

_GO_ALONG: Final = ("content-type", "accept", "traceparent")
_NAME_BYTES: Final = 256
_HASHES: Final = float(1 << 64)


def copied(api: Api, headers: Headers) -> bool:
    """Whether there are copies of such requests at all; there are none of what is a copy."""
    return api in PATHS and headers.get(SHADOW) is None


def drawn(pool: ObjectKey, candidates: Sequence[ShadowSettings], request: InferenceRequest) -> int | None:
    """Which of a pool's `candidates` gets a copy, None: none. It is the same at each turn of a session.

    A request without a session is drawn by its id.
    """
    low = 0.0
    for place, each in enumerate(candidates):
        # Sessions may be named otherwise at each, so the draw is made for each; with equal names it is the same draw.
        at = name_hash(pool, name_of(each, request)) / _HASHES
        if low <= at < low + each.share:
            return place
        low += each.share
    return None


def name_of(settings: ShadowSettings, request: InferenceRequest) -> str:
    """The name of the request's session, else its own id."""
    found = request.headers.get(settings.session_header)
    return f"s{found}" if found and len(found) <= _NAME_BYTES else f"r{request.request_id}"


def name_hash(pool: ObjectKey, name: str) -> int:
    """A number from 0 to 2^64, by the name and the pool: another one at another pool, the same at each picker."""
    return int(xxhash.xxh64_intdigest(f"shadow\0{pool}\0{name}".encode("utf-8", "replace")))


def marked(settings: ShadowSettings, request: InferenceRequest) -> bool:
    """Whether the path or a header marks side effects."""
    skip = settings.skip
    if skip.paths and request.path.partition("?")[0] in skip.paths:
        return True
    for name, marking in (skip.headers or {}).items():
        found = request.headers.get(name)
        if found is not None and (not marking or found in marking):
            return True
    return False


def content_of(settings: ShadowSettings, body: ParsedBody, model: str, content: bytes) -> bytes | None:
    """The body of the copy, with `model` in it; None: a field of `content`, the body, marks side effects.

    Also None where the fields cannot be told.
    """
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or _marks(document, settings.marking_fields):
        return None
    if model in ("", body.model):
        return content
    return with_model(content, model, named=body.has_model)


def headers_of(settings: ShadowSettings, request: InferenceRequest) -> tuple[tuple[str, str], ...]:
    """The headers of the copy: some of the request's, and what says that it is one."""
    found = [(name, request.headers.get(name)) for name in (*_GO_ALONG, *settings.headers)]
    sent = {name: value for name, value in found if value is not None and value.isprintable()}
    request_id = request.request_id
    if request_id.isprintable():
        sent[REQUEST_ID] = f"{request_id}-shadow"
    return (*{"content-type": "application/json", **sent}.items(), (SHADOW, "1"))


def _marks(document: dict[str, Any], fields: Iterable[str]) -> bool:
    return any(document.get(each) for each in fields)
