"""Images, audio and video in messages, as hashes: equal media that an engine has encoded before need not be again."""

from collections.abc import Iterator
from typing import Final, cast

import orjson
from xxhash import xxh3_64_intdigest

# Where each kind of content part has what identifies its media: OpenAI's chat and responses, Anthropic's messages.
_HOLDERS: Final = {
    "image_url": "image_url",
    "video_url": "video_url",
    "audio_url": "audio_url",
    "input_audio": "input_audio",
    "input_image": "image_url",
    "image": "source",
}


def media_hashes(messages: object) -> tuple[int, ...]:
    """One hash for each different medium in the content parts of `messages`, in their order."""
    if not isinstance(messages, list):
        return ()
    return tuple(dict.fromkeys(_hashes(cast(list[object], messages))))


def _hashes(messages: list[object]) -> Iterator[int]:
    for message in messages:
        content = cast(dict[str, object], message).get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            continue
        for part in cast(list[object], content):
            medium = _medium(part)
            if medium is not None:
                yield xxh3_64_intdigest(medium)


def _medium(part: object) -> bytes | None:
    """The bytes that identify a part's medium: its URL, which may be the data itself, or its description as JSON."""
    if not isinstance(part, dict):
        return None
    fields = cast(dict[str, object], part)
    kind = fields.get("type")
    value = fields.get(_HOLDERS[kind]) if isinstance(kind, str) and kind in _HOLDERS else None
    if isinstance(value, dict):
        # Detail and format say how the medium is to be read, not which it is.
        whole = cast(dict[str, object], value)
        value = whole.get("url") or whole.get("data") or whole
    if isinstance(value, str):
        return value.encode()
    # Content that is nested too deeply to be encoded is refused where the prompt is made of it.
    return orjson.dumps(value) if value else None
