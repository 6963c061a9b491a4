"""What is recorded can be read again, tells equal beginnings, and nothing else of a prompt."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.errors import ConfigError
from infscale.recording.recorded_request import (
    VERSION_KEY,
    PrefixDigests,
    RecordedRequest,
    block_tokens,
    check_header,
    header_line,
    read_line,
)

counts = st.integers(0, 10**6)
requests = st.builds(
    RecordedRequest,
    st.floats(-10, 1e7).map(lambda at: round(at, 4)),
    st.text(max_size=128),
    st.integers(-5, 5),
    counts,
    st.none() | counts,
    st.none() | counts,
    st.lists(st.integers(0, 2**48 - 1), max_size=5).map(tuple),
    st.sampled_from(["completed", "aborted", "error", "refused"]),
    st.none() | st.integers(200, 599),
)


@given(requests)
def test_a_request_is_read_as_it_was_written(request: RecordedRequest) -> None:
    line = request.line()
    assert line.count(b"\n") == 1
    assert read_line(orjson.loads(line), "file:2") == request


@given(st.binary(max_size=40_000), st.integers(0, 40_000), st.integers(0, 255))
def test_beginnings_have_equal_digests_as_far_as_they_are_equal(prompt: bytes, place: int, other: int) -> None:
    digests = PrefixDigests(b"secret")
    changed = prompt[:place] + bytes([other]) + prompt[place + 1 :]
    one, two = digests.of("m", prompt), digests.of("m", changed)
    sizes = block_tokens(len(one))
    ends = [4 * sum(sizes[: number + 1]) for number in range(len(sizes))]
    assert not ends or ends[-1] <= len(prompt)
    for mine, its, end in zip(one, two, ends, strict=False):
        assert (mine == its) == (prompt[:end] == changed[:end])


def test_blocks_double_after_each_32() -> None:
    sizes = block_tokens(100)
    assert sizes == (64,) * 32 + (128,) * 32 + (256,) * 32 + (512,) * 4
    # What follows the last whole block is shorter than a block.
    length = 4 * sum(sizes)
    digests = PrefixDigests(b"secret")
    assert len(digests.of("", bytes(length))) == 100
    assert len(digests.of("", bytes(length - 1))) == 99


def test_nothing_is_equal_under_another_root_or_secret() -> None:
    prompt = bytes(2000)
    made = [set(PrefixDigests(secret).of(root, prompt)) for secret, root in ((b"a", "m"), (b"b", "m"), (b"a", "n"))]
    assert all(one.isdisjoint(other) for one, other in pairwise([*made, made[0]]))


def test_a_line_holds_no_text_but_the_beginning_of_the_model_s_name() -> None:
    line = RecordedRequest(1.0, "m" * 500, 0, 3, None, None, (7,), "completed", 200).line()
    texts = [value for value in orjson.loads(line).values() if isinstance(value, str)]
    assert texts == ["m" * 128, "completed", "AAAAAAAH"]


def test_lines_of_before_say_nothing_of_lora_adapters() -> None:
    row = orjson.loads(RecordedRequest(1.0, "m", 0, 3, 4, 5, (), "completed", 200, lora=True).line())
    assert read_line(row, "file:2").lora
    del row["lora"]
    assert not read_line(row, "file:2").lora


def test_a_file_of_another_version_is_refused() -> None:
    check_header(orjson.loads(header_line("2026-11-30T12:00:00Z")), "file:1")
    with pytest.raises(ConfigError, match=f"file:1: {VERSION_KEY}: expected 1"):
        check_header({VERSION_KEY: 7}, "file:1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at": "now"}, "file:2: at: expected a number of seconds"),
        ({"at": 1e12}, "file:2: at: expected a number of seconds"),
        ({"prompt_tokens": True}, "file:2: prompt_tokens: expected a whole number, at least 0"),
        ({"output_tokens": -1}, "file:2: output_tokens: expected a whole number, at least 0"),
        ({"limit": 1.5}, "file:2: limit: expected a whole number"),
        ({"status": "ok"}, "file:2: status: expected a whole number"),
        ({"end": None}, "file:2: end: expected a text"),
        ({"lora": "yes"}, "file:2: lora: expected true or false"),
        ({"prefixes": "é"}, "file:2: prefixes: expected base64"),
    ],
)
def test_a_bad_line_is_refused_by_what_is_wrong(change: dict[str, object], message: str) -> None:
    row = orjson.loads(RecordedRequest(1.0, "m", 0, 3, 4, 5, (), "completed", 200).line())
    with pytest.raises(ConfigError) as refused:
        read_line(row | change, "file:2")
    assert message in str(refused.value)
