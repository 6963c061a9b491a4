"""Cookies are found among whatever a client sends, within bounds, and pools of one host have their own."""

from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import ObjectKey
from picker.sessions.cookies import MAX_SEARCHED, MAX_VALUES, cookie_name, cookie_values, set_cookie
from picker.sessions.session_settings import Cookie

POOL = ObjectKey("ns", "chat")


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (None, []),
        ("", []),
        ("s=1", ["1"]),
        ("a=0; s=1; b=2", ["1"]),
        ("a=0;s=1", ["1"]),
        ("xs=1; s2=3", []),
        ("s=1,s=2", ["1", "2"]),
        ("s", []),
        ("s=", [""]),
        ("; ".join(f"s={n}" for n in range(9)), [str(n) for n in range(MAX_VALUES)]),
        ("a=" + "x" * MAX_SEARCHED + "; s=1", []),
    ],
)
def test_values_of_a_name(sent: str | None, found: list[str]) -> None:
    assert cookie_values(sent, "s") == found


@given(st.text(max_size=300))
def test_anything_may_be_sent(sent: str) -> None:
    assert len(cookie_values(sent, "s")) <= MAX_VALUES


@given(st.lists(st.tuples(st.sampled_from("abcs"), st.text("XYZ019-_", max_size=8)), max_size=MAX_VALUES))
def test_as_the_standard_library_reads_them(pairs: list[tuple[str, str]]) -> None:
    sent = "; ".join(f"{name}={text}" for name, text in pairs)
    last = SimpleCookie(sent).get("s")
    found = cookie_values(sent, "s")
    assert (last.value if last else None) == (found[-1] if found else None)


def test_a_cookie_is_out_of_reach_of_scripts_and_goes_over_tls_alone() -> None:
    made = set_cookie(Cookie("s", "/v1"), "s-1", "token", 90.5)
    assert made == b"s-1=token; Path=/v1; Max-Age=90; HttpOnly; Secure; SameSite=Lax"
    assert b"Secure" not in set_cookie(Cookie(secure=False), "s", "token", 1.0)


def test_pools_behind_one_host_have_cookies_of_their_own() -> None:
    names = {cookie_name(Cookie("s"), ObjectKey("ns", f"pool-{number}")) for number in range(100)}
    assert len(names) == 100
    assert cookie_name(Cookie("s"), POOL) == cookie_name(Cookie("s"), ObjectKey("ns", "chat"))
