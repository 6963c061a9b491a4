"""Numbers are short, and names of others cannot do anything where they are shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.viewing.words import Write, count, gibibytes, percent, seconds, shown


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (count, 0.0, "0"),
        (count, 3.0, "3"),
        (count, 2.5, "2.5"),
        (count, 1039.9999, "1040"),
        (count, 12_345.0, "12.3k"),
        (count, 2.5e6, "2.5M"),
        (count, 1e16, "1.0e+16"),
        (percent, 0.874, "87%"),
        (gibibytes, 80 * 1024**3, "80.0 GiB"),
        (seconds, 0.0, "0 ms"),
        (seconds, 0.34, "340 ms"),
        (seconds, 0.9996, "1.0 s"),
        (seconds, 12.3, "12.3 s"),
        (seconds, 180.0, "3 min"),
        (seconds, 7200.0, "2 h"),
        (seconds, 200_000.0, "2 d"),
    ],
)
def test_numbers_are_written_short(write: Write, value: float, text: str) -> None:
    assert write(value) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("Modell-größe 模型", "Modell-größe 模型"),
        ("a\x1b[2Jb", "a�[2Jb"),
        ("a\nb\rc\td", "a�b�c�d"),
        ("\u202egnp.exe", "�gnp.exe"),
        ("a\u2028b", "a�b"),
        ("\ud800", "�"),
    ],
)
def test_what_controls_terminals_is_replaced(text: str, expected: str) -> None:
    assert shown(text) == expected


@given(st.text(max_size=400))
def test_what_is_shown_is_one_bounded_printable_line(text: str) -> None:
    found = shown(text)
    assert len(found) <= 300
    assert not any(ord(each) < 32 or 0x7F <= ord(each) < 0xA0 or each in "\u202e\u2028" for each in found)
