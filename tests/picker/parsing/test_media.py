"""Which media a request has, told apart by what they are."""

from typing import Any

import orjson
import pytest

from picker.parsing import DEFAULT_PARSERS, parse_body
from picker.parsing.media import media_hashes


def parts(*contents: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(contents)}]


def image(url: str, **more: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


@pytest.mark.parametrize(
    ("messages", "count"),
    [
        pytest.param([{"role": "user", "content": "https://x/a.png"}], 0, id="text"),
        pytest.param(parts({"type": "text", "text": "hello"}), 0, id="text part"),
        pytest.param(parts(image("https://x/a.png"), image("https://x/b.png")), 2, id="two images"),
        pytest.param(parts(image("https://x/a.png"), image("https://x/a.png", detail="low")), 1, id="one image twice"),
        pytest.param(parts({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}), 1, id="audio"),
        pytest.param(parts({"type": "input_image", "image_url": "https://x/a.png"}), 1, id="responses"),
        pytest.param(parts({"type": "image", "source": {"type": "base64", "data": "iVBO"}}), 1, id="anthropic"),
        pytest.param(parts({"type": "image", "source": {"type": "file", "file_id": "f"}}), 1, id="by file"),
        pytest.param(parts({"type": ["image_url"], "image_url": "x"}, {"type": "image_url"}, 3, None), 0, id="broken"),
        pytest.param([3, {"content": {"type": "image"}}], 0, id="no messages"),
        pytest.param("text", 0, id="no list"),
        pytest.param(None, 0, id="nothing"),
    ],
)
def test_different_media_are_counted_once_each(messages: Any, count: int) -> None:
    assert len(media_hashes(messages)) == count


def test_the_same_image_is_the_same_in_every_api() -> None:
    chat, responses = (
        media_hashes(parts(image("https://x/a.png"))),
        media_hashes(parts({"type": "input_image", "image_url": "https://x/a.png"})),
    )
    assert chat == responses


def test_parsed_requests_carry_their_media() -> None:
    route = DEFAULT_PARSERS.route("/v1/chat/completions")
    assert route is not None
    body = {"model": "m", "messages": parts(image("https://x/a.png"))}
    assert parse_body(route, orjson.dumps(body)).media == media_hashes(body["messages"])
