"""The OpenAI completion APIs as this server speaks them: requests parsed, answers formatted. Pure.

Text is counted at four bytes a token; the output is made of words of exactly four bytes.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from infscale.sim.engine.block_hashes import block_hashes
from infscale.sim.engine.steps import FinishedRequest

BYTES_PER_TOKEN = 4
_WORDS = (b" the", b" sun", b" and", b" sea", b" old", b" map", b" far", b" sky")


class ApiError(Exception):
    """A request that cannot be served: HTTP status, OpenAI error type and message; never quotes the prompt."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param

    def body(self) -> bytes:
        """The error as vLLM writes it."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}
        return orjson.dumps({"error": error})


def bad_request(message: str, param: str | None = None) -> ApiError:
    """An error that is the client's fault."""
    return ApiError(400, "BadRequestError", message, param)


@dataclass(frozen=True, slots=True)
class CompletionCall:
    """A parsed request. `prompt` is what block hashes are made of, `unit` how many of its bytes are one token."""

    chat: bool
    model: str
    prompt: bytes
    unit: int
    max_tokens: int | None
    min_tokens: int
    stream: bool
    include_usage: bool

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt; an empty one counts as one token."""
        return max(1, -(-len(self.prompt) // self.unit))

    def block_hashes(self, block_size: int, root: str) -> tuple[int, ...]:
        """Chained hashes of the prompt's full blocks; `root`, the LoRA adapter's name, separates what is not shared."""
        return block_hashes(self.prompt, block_size * self.unit, root)

    def output_tokens(self, default: int) -> int:
        """How many tokens the answer has: what is asked for, or `default`, but at least `min_tokens`."""
        return max(1, self.min_tokens, default) if self.max_tokens is None else self.max_tokens

    @property
    def finish_reason(self) -> str:
        """An answer of a length that was asked for ends by length."""
        return "stop" if self.max_tokens is None else "length"


def parse_call(body: bytes, chat: bool) -> CompletionCall:
    """Parse a request body; raises `ApiError` (400) that says which field is wrong."""
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request("the body is not JSON") from error
    if not isinstance(document, dict):
        raise bad_request("the body is not a JSON object")
    model = document.get("model")
    if not isinstance(model, str):
        raise bad_request("model is a string", "model")
    if _count(document, "n", 1) not in (None, 1):
        raise bad_request("this server gives one choice per request", "n")
    prompt, unit = _chat_prompt(document) if chat else _plain_prompt(document.get("prompt"))
    limit = _count(document, "max_completion_tokens", 1)
    options = document.get("stream_options")
    return CompletionCall(
        chat=chat,
        model=model,
        prompt=prompt,
        unit=unit,
        max_tokens=_count(document, "max_tokens", 1) if limit is None else limit,
        min_tokens=_count(document, "min_tokens", 0) or 0,
        stream=document.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _count(document: dict[str, Any], name: str, least: int) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise bad_request(f"{name} is a whole number, at least {least}", name)
    return value


def _chat_prompt(document: dict[str, Any]) -> tuple[bytes, int]:
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages is a list of at least one message", "messages")
    tools = document.get("tools")
    parts = [orjson.dumps(tools)] if tools else []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise bad_request("every message has a role", "messages")
        parts.append(b"<|%s|>\n%s\n" % (message["role"].encode(), _content(message.get("content"))))
    return b"".join(parts), BYTES_PER_TOKEN


def _content(content: Any) -> bytes:
    if content is None:
        return b""
    if isinstance(content, str):
        return content.encode()
    if not isinstance(content, list):
        raise bad_request("content is a string or a list of parts", "messages")
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str)).encode()


def _plain_prompt(prompt: Any) -> tuple[bytes, int]:
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt.encode(), BYTES_PER_TOKEN
    try:
        ids = array("Q", prompt)
    except (TypeError, OverflowError) as error:
        raise bad_request("prompt is one string or one list of token ids", "prompt") from error
    return ids.tobytes(), ids.itemsize


def words(count: int) -> bytes:
    """`count` tokens of text."""
    return b"".join(_WORDS[index % len(_WORDS)] for index in range(count))


def usage_of(done: FinishedRequest) -> dict[str, object]:
    """The usage object."""
    request = done.request
    return {
        "prompt_tokens": request.prompt_tokens,
        "total_tokens": request.prompt_tokens + request.output_tokens,
        "completion_tokens": request.output_tokens,
        "prompt_tokens_details": {"cached_tokens": done.cached_tokens},
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """What every part of one answer carries. `created` is Unix time in whole seconds."""

    call: CompletionCall
    id: str
    created: int

    def whole(self, done: FinishedRequest) -> bytes:
        """The body of an answer that is not streamed."""
        text = words(done.request.output_tokens).decode()
        content = {"message": {"role": "assistant", "content": text}} if self.call.chat else {"text": text}
        choice = {
            "index": 0,
            **content,
            "logprobs": None,
            "finish_reason": self.call.finish_reason,
            "stop_reason": None,
        }
        kind = "chat.completion" if self.call.chat else "text_completion"
        return orjson.dumps({**self._base(kind), "choices": [choice], "usage": usage_of(done)})

    def _base(self, kind: str) -> dict[str, object]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.call.model}

    def event(self, choices: Sequence[Mapping[str, object]], usage: dict[str, object] | None = None) -> bytes:
        """One server-sent event."""
        kind = "chat.completion.chunk" if self.call.chat else "text_completion"
        more = {} if usage is None else {"usage": usage}
        return b"data: " + orjson.dumps({**self._base(kind), "choices": choices, **more}) + b"\n\n"


class EventStream:
    """The server-sent events of one answer, framed for chunked transfer where `framed`.

    Events of tokens differ in four bytes only, so they are cut from one template.
    """

    __slots__ = ("_answer", "_count", "_framed", "_head", "_tail")

    def __init__(self, answer: Answer, framed: bool) -> None:
        self._answer = answer
        self._framed = framed
        self._count = 0
        self._head, self._tail = self._frame(self._token(_WORDS[0].decode())).rsplit(_WORDS[0], 1)

    def token(self) -> bytes:
        """The event of the next token; before the first one of a chat, the role."""
        count = self._count
        self._count = count + 1
        event = self._head + _WORDS[count & 7] + self._tail
        return self._role() + event if count == 0 and self._answer.call.chat else event

    def end(self, done: FinishedRequest) -> bytes:
        """Finish reason, usage where asked for, and the end mark."""
        answer = self._answer
        last = self._token("", finish_reason=answer.call.finish_reason, stop_reason=None)
        usage = answer.event([], usage_of(done)) if answer.call.include_usage else b""
        return self._frame(last + usage + b"data: [DONE]\n\n")

    def _token(self, text: str, **more: object) -> bytes:
        content = {"delta": {"content": text}} if self._answer.call.chat else {"text": text}
        return self._answer.event([{"index": 0, **content, "logprobs": None, "finish_reason": None, **more}])

    def _role(self) -> bytes:
        choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        return self._frame(self._answer.event([choice]))

    def _frame(self, payload: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(payload), payload) if self._framed else payload
