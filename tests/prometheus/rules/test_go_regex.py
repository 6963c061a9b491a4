"""Expressions match what RE2 matches; what RE2 or a bounded search does not have is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.prometheus.rules.go_regex import GoRegex, RegexError, expanded


@pytest.mark.parametrize(
    ("pattern", "subject", "matched"),
    [
        ("^container_(.*)_total$", "container_cpu_total", "container_cpu_total"),
        ("a$", "a\n", None),  # Python's $ would match before the line's end
        ("(?m)a$", "a\nb", "a"),
        (r"a\z", "a", "a"),
        (r"\Qa.b\E+", "a.bb", "a.bb"),
        ("[[:alpha:]_]+", "9ab_1", "ab_"),
        ("[a[]+", "[a", "[a"),
        ("[]a]+", "]a", "]a"),
        ("[^]a]+", "b]", "b"),
        (r"[\d-]+", "1-2", "1-2"),
        ("[a&&b]+", "&&", "&&"),
        ("(?i)ABC", "abc", "abc"),
        ("a|(?i)b|c", "C", "C"),
        ("x(?i:y)z", "xYz", "xYz"),
        ("(?P<n>a)(?<m>b)", "ab", "ab"),
        ("a{2,3}", "aaaa", "aaa"),
        ("a{,3}", "a{,3}", "a{,3}"),
        ("{", "{", "{"),
        (r"\x41\x{42}\103", "ABC", "ABC"),
        (r"\w+", "äb", "b"),
        (".+?b", "aabb", "aab"),
        ("", "x", ""),
    ],
)
def test_an_expression_matches_as_in_go(pattern: str, subject: str, matched: str | None) -> None:
    found = GoRegex.parse(pattern).search(subject)
    assert (found and found[0]) == matched


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(?=a)", "RE2 has no group"),
        ("(?!a)", "RE2 has no group"),
        ("(?<=a)b", "RE2 has no group"),
        ("(?>a)", "RE2 has no group"),
        (r"(a)\1", "not read here"),
        ("(a", "not closed"),
        ("a)", r"\) without \("),
        ("[a", "not closed"),
        ("*a", "nothing to repeat"),
        ("a**", "nothing to repeat"),
        ("a{2}{3}", "nothing to repeat"),
        ("a{2,1}", "smaller number first"),
        ("a{5000}", "0 to 1000"),
        (r"\pL", "not read here"),
        ("[[:nope:]]", "not read here"),
        ("[z-a]", "not a regular expression"),
        ("(a*)*", "repetition without bound itself"),
        ("(?:x(a+)y){2,}", "repetition without bound itself"),
        (".*a.*b.*c.*d.*", "more than 4"),
        ("a" * 2_000, "at most"),
        (r"a\x", "not read here"),
    ],
)
def test_what_is_not_matched_here_is_refused_with_its_place(pattern: str, problem: str) -> None:
    with pytest.raises(RegexError, match=problem):
        GoRegex.parse(pattern)


def test_long_subjects_match_nothing() -> None:
    assert GoRegex.parse("a").search("a" * 300) is None


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$0", "ab"),
        ("${1}_per_second", "a_per_second"),
        ("$1_per_second", ""),  # the group "1_per_second", which there is not
        ("$name-$2", "a-b"),
        ("$9$$", "$"),
        ("x", "x"),
    ],
)
def test_a_match_is_filled_in_as_in_go(template: str, expected: str) -> None:
    match = GoRegex.parse("(?P<name>a)(b)").search("ab")
    assert match is not None
    assert expanded(template, match) == expected


@given(st.text(alphabet=st.sampled_from("ab.*+?()[]{}|^$\\-,:123PQEdwzi<>=!"), max_size=20))
def test_any_text_is_an_expression_or_refused(pattern: str) -> None:
    try:
        GoRegex.parse(pattern).search("aab1")
    except RegexError:
        return


@given(st.text(alphabet="abc.", max_size=8), st.text(alphabet="abc\n", max_size=8))
def test_a_literal_finds_itself(literal: str, around: str) -> None:
    assert GoRegex.parse(re.escape(literal)).search(around + literal) is not None
