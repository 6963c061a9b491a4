"""The bytes of a prompt in the order engines see them, so that equal beginnings mean shareable prefixes."""

from itertools import chain
from typing import Final, cast

import numpy as np
import orjson

from picker.errors import RequestError, invalid_json

# English text averages about four bytes per token in the tokenizers of current models; exact counts need a tokenizer.
BYTES_PER_TOKEN: Final = 4

_SEPARATOR: Final = b"\n"


def estimated_tokens(size_bytes: int) -> int:
    """Tokens in a text of `size_bytes`, rounded up."""
    return -(-size_bytes // BYTES_PER_TOKEN)


def chat_prompt(tools: object, system: object, messages: list[object]) -> bytes:
    """Tools first (templates put them into the system prompt), then role, content and tool calls of each message."""
    parts: list[bytes] = []
    if tools:
        parts.append(_encoded(tools))
    if system:
        parts.append(_encoded(system))
    for message in messages:
        if not isinstance(message, dict):
            raise RequestError("invalid chat completions request: must have valid messages field")
        fields = cast(dict[str, object], message)
        parts.append(_encoded(fields.get("role")))
        parts.append(_encoded(fields.get("content")))
        calls = fields.get("tool_calls")
        if calls:
            parts.append(_encoded(calls))
    return _SEPARATOR.join(parts)


def responses_prompt(tools: object, instructions: object, request_input: object) -> bytes:
    """Tools and instructions first, then the input: a text, or items of which most are messages."""
    if not isinstance(request_input, str | list):
        raise RequestError("invalid responses request: must have input field")
    parts = [_encoded(part) for part in (tools, instructions) if part]
    if isinstance(request_input, str):
        parts.append(request_input.encode())
    else:
        parts.append(conversation_prompt(cast(list[object], request_input)))
    return _SEPARATOR.join(parts)


def conversation_prompt(items: list[object]) -> bytes:
    """Role and content of each item that has them; other items whole."""
    parts: list[bytes] = []
    for item in items:
        if isinstance(item, dict) and "content" in item:
            fields = cast(dict[str, object], item)
            parts += (_encoded(fields.get("role")), _encoded(fields["content"]))
        else:
            parts.append(_encoded(item))
    return _SEPARATOR.join(parts)


def text_or_tokens(value: object, field: str) -> tuple[bytes, int]:
    """Bytes and token count of a text, token ids, or a list of either; the first element decides which.

    Token ids become 32-bit little-endian words and their count is exact; texts are estimated.
    """
    if isinstance(value, str):
        return _texts([value])
    if not isinstance(value, list) or not value:
        raise RequestError(f"{field} must be a string or a non-empty list of strings or token ids")
    items = cast(list[object], value)
    kinds = set(map(type, items))
    if kinds == {str}:
        return _texts(cast(list[str], items))
    if kinds == {list}:
        items = list(chain.from_iterable(cast(list[list[object]], items)))
        kinds = set(map(type, items))
    if not kinds or not kinds <= {int, float}:
        raise RequestError(f"{field} must hold strings only or token ids only")
    return _token_ids(cast(list[float], items), field)


def _texts(texts: list[str]) -> tuple[bytes, int]:
    prompt = _SEPARATOR.join([text.encode() for text in texts])
    return prompt, estimated_tokens(len(prompt))


def _token_ids(items: list[float], field: str) -> tuple[bytes, int]:
    numbers = np.array(items, dtype=np.float64)
    # Every 32-bit number is exact as a double, so the comparison loses nothing.
    if not (np.all(numbers >= 0) and np.all(numbers < 2**32) and np.all(numbers == np.floor(numbers))):
        raise RequestError(f"{field} must hold token ids that are whole numbers below 2^32")
    return numbers.astype("<u4").tobytes(), len(items)


def _encoded(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if value is None:
        return b""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise invalid_json("the body is nested too deeply") from error
