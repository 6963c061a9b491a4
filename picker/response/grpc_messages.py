"""The token usage that gRPC messages of a response report."""

from typing import Final

from google.protobuf.message import DecodeError

from infscale.framing.line_buffer import LineBuffer
from picker.proto import vertex_ai_pb2, vllm_engine_pb2
from picker.request import Framing
from picker.response.usage import Usage, UsageReader

# Endpoints number the answers to one request from 0; more are not told apart.
_MOST_ANSWERS: Final = 1024


class FrameUsageReader:
    """Collects usage from the gRPC messages of one response.

    `embeds`: they answer a request for embeddings. What is no message of that kind is passed over.
    """

    __slots__ = ("_completions", "_documents", "_embeds", "_framing", "_lines", "_usage")

    def __init__(self, framing: Framing, embeds: bool) -> None:
        self._framing = framing
        self._embeds = embeds
        self._usage = Usage()
        self._completions: dict[int, int] = {}
        self._documents = UsageReader()
        self._lines = LineBuffer()

    @property
    def usage(self) -> Usage:
        """Token usage read so far."""
        return self._documents.usage if self._framing == "vertex" else self._usage

    def message(self, message: bytes) -> None:
        """Read one message."""
        try:
            if self._framing == "vertex":
                self._wrapped(vertex_ai_pb2.HttpBody.FromString(message).data)
            elif self._embeds:
                self._embedded(vllm_engine_pb2.EmbedResponse.FromString(message))
            else:
                self._generated(vllm_engine_pb2.GenerateResponse.FromString(message))
        except DecodeError:
            return

    def end(self) -> None:
        """The body ended: what is unfinished is read as it is."""
        self._documents.line(self._lines.rest())
        self._documents.ended()

    def _generated(self, response: vllm_engine_pb2.GenerateResponse) -> None:
        """Counts so far, of one of the answers; an engine writes 0 where it does not count yet."""
        part = response.complete if response.WhichOneof("response") == "complete" else response.chunk
        if not part.prompt_tokens and not part.completion_tokens:
            return
        if part.index in self._completions or len(self._completions) < _MOST_ANSWERS:
            self._completions[part.index] = part.completion_tokens
        prompt, completion = part.prompt_tokens, sum(self._completions.values())
        self._usage = Usage(prompt, completion, prompt + completion, part.cached_tokens)

    def _embedded(self, response: vllm_engine_pb2.EmbedResponse) -> None:
        if response.prompt_tokens:
            self._usage = Usage(response.prompt_tokens, 0, response.prompt_tokens)

    def _wrapped(self, content: bytes) -> None:
        """A JSON document, or a piece of an event stream."""
        if content.lstrip().startswith(b"{"):
            self._documents.document(content)
            return
        for line in self._lines.feed(content):
            self._documents.line(line)
