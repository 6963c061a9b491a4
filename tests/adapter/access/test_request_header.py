"""Identities in headers: recorded cases of the API server, and laws."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from adapter.access.identity import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User, authenticated
from adapter.access.request_header import IdentityHeaders
from tests.adapter.support import vectors

USUAL = IdentityHeaders(("X-Remote-User",), ("X-Remote-Group",), ("X-Remote-Uid",), ("X-Remote-Extra-",))


def headers(*pairs: tuple[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(pairs)


@pytest.mark.parametrize(
    "case", [pytest.param(each, id=each["name"]) for each in vectors("requestheader.json")["cases"]]
)
def test_recorded_cases_are_read_alike(case: dict[str, Any]) -> None:
    assert case.keys() <= {"name", "headers", "user_headers", "group_headers", "ok", "groups"}
    rules = IdentityHeaders(tuple(case.get("user_headers", ["X-Remote-User"])), tuple(case.get("group_headers", ())))
    user = rules.user_of(headers(*((name, value) for name, values in case["headers"].items() for value in values)))
    assert (user is not None) == case["ok"]
    if user is not None:
        assert list(user.groups) == case.get("groups", [])


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ((("X-Remote-User", "bob"),), "bob"),
        ((("x-remote-user", "bob"), ("X-Remote-User", "eve")), "bob"),
        ((("X-Second", "eve"), ("X-Remote-User", "bob")), "bob"),
        ((("X-Remote-User", ""), ("X-Second", "bob")), "bob"),
        ((("X-Remote-User", ""), ("X-Remote-User", "eve")), None),
        ((("X-Remote-User", ""),), None),
        ((("X-Remote-Group", "system:masters"),), None),
    ],
    ids=["usual", "the first value", "the first header", "the next header", "only first values", "empty", "no user"],
)
def test_the_user_is_the_first_value_of_the_first_header_that_has_one(
    sent: tuple[tuple[str, str], ...], name: str | None
) -> None:
    user = IdentityHeaders(("X-Remote-User", "X-Second")).user_of(headers(*sent))
    assert (None if user is None else user.name) == name


def test_uid_and_extra_values_come_along() -> None:
    user = USUAL.user_of(
        headers(
            ("X-Remote-User", "bob"),
            ("X-Remote-Uid", "u-1"),
            ("X-Remote-Extra-Scopes", "a"),
            ("x-remote-extra-SCOPES", "b"),
            ("X-Remote-Extra-Example.org%2fProject", "p"),
            ("X-Remote-Extra-Bad%zz", "c"),
            ("X-Remote-Extra-Bad%ff", "d"),
            ("X-Other", "e"),
        )
    )
    assert user is not None
    assert user.uid == "u-1"
    assert user.extra == (
        ("scopes", ("a", "b")),
        ("example.org/project", ("p",)),
        ("bad%zz", ("c",)),
        ("bad%ff", ("d",)),
    )


_NAMES = ("X-Remote-User", "X-Remote-Group", "X-Remote-Uid", "X-Remote-Extra-A", "X-Remote-User-With-Suffix", "X-Other")
_SENT = st.lists(st.tuples(st.sampled_from(_NAMES), st.text("ab ", max_size=3), st.booleans()), max_size=12)


@given(_SENT)
def test_case_and_place_of_header_names_change_nothing(sent: list[tuple[str, str, bool]]) -> None:
    """Only the order of the values of one name counts."""
    plain = headers(*((name, value) for name, value, _ in sent))
    mixed = headers(*((name.swapcase() if swap else name, value) for name, value, swap in sent))
    grouped = headers(*((name, value) for name in _NAMES for each, value, _ in sent if each == name))
    assert USUAL.user_of(plain) == USUAL.user_of(mixed) == USUAL.user_of(grouped)
    assert USUAL.any_in(plain) == USUAL.any_in(mixed)


@given(_SENT)
def test_who_is_named_was_named_by_an_identity_header(sent: list[tuple[str, str, bool]]) -> None:
    given_headers = headers(*((name, value) for name, value, _ in sent))
    user = USUAL.user_of(given_headers)
    values = [value for name, value, _ in sent if name == "X-Remote-User"]
    assert (user is not None) == (bool(values) and values[0] != "")
    if user is not None:
        assert USUAL.any_in(given_headers)
        assert user.name == values[0]
        assert list(user.groups) == [value for name, value, _ in sent if name == "X-Remote-Group"]


@pytest.mark.parametrize("name", ["X-Remote-User", "x-remote-group", "X-Remote-Uid", "X-REMOTE-EXTRA-x"])
def test_a_part_of_an_identity_is_seen_without_the_rest(name: str) -> None:
    assert USUAL.any_in(headers((name, "")))
    assert not USUAL.any_in(headers(("X-Remote", "a"), ("Accept", "b")))


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        (User("system:kube-aggregator"), (AUTHENTICATED,)),
        (User("bob", groups=("dev",)), ("dev", AUTHENTICATED)),
        (User("bob", groups=(AUTHENTICATED, "dev")), (AUTHENTICATED, "dev")),
        (User("bob", groups=(UNAUTHENTICATED,)), (UNAUTHENTICATED,)),
        (ANONYMOUS, (UNAUTHENTICATED,)),
        (User("system:anonymous"), ()),
    ],
    ids=["aggregator", "groups", "already", "proxied as nobody", "anonymous", "anonymous without group"],
)
def test_everybody_but_the_anonymous_is_authenticated(user: User, groups: tuple[str, ...]) -> None:
    assert authenticated(user).groups == groups
