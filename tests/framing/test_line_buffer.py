"""Lines come out whole, however the bytes come."""

from hypothesis import given
from hypothesis import strategies as st

from infscale.framing.line_buffer import LineBuffer


@given(st.lists(st.sampled_from([b"a", b"bc", b"\r", b"\n", b"\r\n", b"\n\n", b""]), max_size=40))
def test_any_cut_gives_the_lines_of_the_whole(chunks: list[bytes]) -> None:
    buffer = LineBuffer()
    found = [line for chunk in chunks for line in buffer.feed(chunk)]
    rest = buffer.rest()
    assert found + ([rest] if rest else []) == b"".join(chunks).splitlines(keepends=True)
    assert buffer.empty


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    lines = LineBuffer(limit_bytes=10)
    assert lines.feed(b"x" * 6) == []
    assert lines.feed(b"x" * 6) == [b"x" * 12]
    assert lines.feed(b"y\nz") == [b"y\n"]
    assert lines.rest() == b"z"
