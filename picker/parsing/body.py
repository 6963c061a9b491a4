"""What scheduling needs of a request body: the model, the prompt text for prefix matching, and its length."""

import codecs
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import orjson

from picker.errors import RequestError, invalid_json
from picker.parsing.media import media_hashes
from picker.parsing.outline import Outline
from picker.parsing.prompt import chat_prompt, conversation_prompt, estimated_tokens, responses_prompt, text_or_tokens
from picker.parsing.table import Route
from picker.request import Api, ParsedBody

# More than any engine's context; a larger number is a mistake and would poison the books of in-flight tokens.
MAX_OUTPUT_TOKENS: Final = 2**31 - 1

Document = dict[str, Any]
Prompt = tuple[bytes, int]

_UNREADABLE: Final[Prompt] = (b"", 0)
"""A prompt that engines take and that is neither text nor token ids: such requests are scheduled by load alone."""
# A stored prompt, or what came before.
_INSTEAD_OF_INPUT: Final = ("prompt", "previous_response_id", "previous_input_messages", "conversation")


def parse_body(route: Route, body: bytes) -> ParsedBody:
    """What `body`, sent to a path of `route`, says. Raises RequestError with words for the client."""
    if route.api == "opaque":
        return ParsedBody(api="opaque", model="", prompt=b"", prompt_tokens=0)
    return _parsed(route, body, 0)


def parse_outline(route: Route, outline: Outline) -> ParsedBody:
    """What the body of an outline says; its length is that of the whole."""
    return _parsed(route, outline.document, estimated_tokens(outline.text_bytes) + outline.numbers)


def _parsed(route: Route, body: bytes, left_out_tokens: int) -> ParsedBody:
    document = _document(body)
    model = _model(document)
    prompt, tokens = _PROMPTS[route.api](document)
    return ParsedBody(
        api=route.api,
        model=model,
        prompt=prompt,
        prompt_tokens=tokens + left_out_tokens,
        max_output_tokens=_max_output_tokens(document, route.api),
        cache_salt=_cache_salt(document, route.api),
        has_model="model" in document,
        needs_model=route.names_model,
        generates=route.generates,
        media=media_hashes(document.get(_MEDIA[route.api])) if route.api in _MEDIA else (),
    )


def _document(body: bytes) -> Document:
    try:
        # Engines pass over the mark that some editors and libraries begin a text with.
        document = orjson.loads(body.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        raise invalid_json(str(error)) from error
    if not isinstance(document, dict):
        raise invalid_json("the body is not a JSON object")
    return cast(Document, document)


def _model(document: Document) -> str:
    model = document.get("model")
    if model is not None and not isinstance(model, str):
        raise RequestError("model must be a string")
    return model or ""


def _items(document: Document, field: str, problem: str) -> list[object]:
    """What is in a list of the document. Raises RequestError where there is none."""
    items = document.get(field)
    if not isinstance(items, list) or not items:
        raise RequestError(problem)
    return cast(list[object], items)


def _chat(document: Document) -> Prompt:
    messages = _items(document, "messages", "invalid chat completions request: must have valid messages field")
    return _estimated(chat_prompt(document.get("tools"), None, messages))


def _messages(document: Document) -> Prompt:
    messages = _items(document, "messages", "invalid messages request: must have valid messages field")
    return _estimated(chat_prompt(document.get("tools"), document.get("system"), messages))


def _completions(document: Document) -> Prompt:
    prompt = document.get("prompt")
    if not prompt and document.get("prompt_embeds") is not None:
        return _UNREADABLE
    if prompt is None:
        # Written out as null it is the engine's to say what becomes of it.
        if "prompt" in document:
            return _UNREADABLE
        raise RequestError("invalid completions request: must have prompt field")
    return text_or_tokens(prompt, "prompt")


def _embeddings(document: Document) -> Prompt:
    """Text or token ids, a conversation instead of them (vLLM), or texts and images in pairs (SGLang)."""
    value = document.get("input")
    if value is None:
        messages = _items(document, "messages", "invalid embeddings request: must have input field")
        return _estimated(chat_prompt(None, None, messages))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _estimated(conversation_prompt(cast(list[object], value)))
    return text_or_tokens(value, "input")


def _responses(document: Document) -> Prompt:
    if document.get("input") is None:
        if any(document.get(other) is not None for other in _INSTEAD_OF_INPUT):
            return _UNREADABLE
        raise RequestError("invalid responses request: must have input field")
    return _estimated(responses_prompt(document.get("tools"), document.get("instructions"), document["input"]))


def _conversations(document: Document) -> Prompt:
    items = _items(document, "items", "invalid conversations request: must have items field")
    return _estimated(conversation_prompt(items))


def _images(document: Document) -> Prompt:
    prompt = document.get("prompt")
    if not isinstance(prompt, str):
        raise RequestError("invalid images generations request: must have prompt field")
    return _estimated(prompt.encode())


def _vllm_generate(document: Document) -> Prompt:
    """The API between vLLM's own servers: token ids, never text."""
    if not document.get("token_ids"):
        raise RequestError("invalid generate request: must have non-empty token_ids field")
    return _only_tokens(document["token_ids"], "token_ids")


def _sglang_generate(document: Document) -> Prompt:
    """SGLang's own API: token ids, or text where there are none."""
    if document.get("input_ids") is not None:
        return _only_tokens(document["input_ids"], "input_ids")
    if document.get("text") is not None:
        return text_or_tokens(document["text"], "text")
    if document.get("input_embeds") is not None:
        return _UNREADABLE
    raise RequestError("invalid generate request: must have input_ids or text field")


def _only_tokens(value: object, field: str) -> Prompt:
    if not isinstance(value, list) or any(isinstance(item, str) for item in cast(list[object], value)):
        raise RequestError(f"{field} must be a list of token ids")
    return text_or_tokens(cast(list[object], value), field)


_PROMPTS: Final[Mapping[Api, Callable[[Document], Prompt]]] = {
    "chat_completions": _chat,
    "completions": _completions,
    "embeddings": _embeddings,
    "responses": _responses,
    "conversations": _conversations,
    "images": _images,
    "messages": _messages,
    "vllm_generate": _vllm_generate,
    "sglang_generate": _sglang_generate,
}

_OUTPUT_LIMITS: Final[Mapping[Api, tuple[str, ...]]] = {
    "chat_completions": ("max_completion_tokens", "max_tokens"),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
    "vllm_generate": ("max_tokens",),
    "sglang_generate": ("max_new_tokens",),
}
# Where the limit is a sampling parameter among others.
_LIMITS_WITHIN: Final[Mapping[Api, str]] = {"vllm_generate": "sampling_params", "sglang_generate": "sampling_params"}
_MEDIA: Final[Mapping[Api, str]] = {
    "chat_completions": "messages",
    "messages": "messages",
    "embeddings": "messages",
    "responses": "input",
}
_SALTS: Final[Mapping[Api, str]] = {"sglang_generate": "extra_key"}


def _max_output_tokens(document: Document, api: Api) -> int | None:
    """The request's limit on generated tokens; None where it has none, or none that can be counted with.

    Whether a limit is valid is the engine's to say: engines also take digits in quotes.
    """
    within = _LIMITS_WITHIN.get(api)
    holder: object = document if within is None else document.get(within)
    if not isinstance(holder, dict):
        return None
    for field in _OUTPUT_LIMITS.get(api, ()):
        value = cast(Document, holder).get(field)
        if value is None:
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        return value if 0 <= value <= MAX_OUTPUT_TOKENS else None
    return None


def _cache_salt(document: Document, api: Api) -> str:
    """What keeps requests with equal prompts from sharing a cache; engines take any text."""
    salt = document.get(_SALTS.get(api, "cache_salt"))
    return salt if isinstance(salt, str) else ""


def _estimated(prompt: bytes) -> Prompt:
    return prompt, estimated_tokens(len(prompt))
