"""What the exchange reads from headers."""

import pytest

from picker.ext_proc.headers import DESTINATION, content_length, echoed, request_path, response_status, wants_upgrade
from picker.request import Headers
from tests.fakes.pools import headers


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({}, ""),
        ({":path": "/now"}, "/now"),
        ({":path": "/now", "x-original-path": "/asked"}, "/asked"),
    ],
    ids=["none", "as sent", "rewritten"],
)
def test_the_path_is_the_one_the_client_asked_for(given: dict[str, str], path: str) -> None:
    assert request_path(headers(**given)) == path


@pytest.mark.parametrize(
    ("text", "status", "length"),
    [
        ("200", 200, 200),
        ("99", None, 99),
        ("1000", None, 1000),
        ("٢٠٠", None, None),
        ("-1", None, None),
        ("", None, None),
    ],
)
def test_numbers_are_plain_and_of_a_size_that_there_can_be(text: str, status: int | None, length: int | None) -> None:
    assert response_status(headers(**{":status": text})) == status
    assert content_length(headers(**{"content-length": text})) == length


def test_a_number_of_twenty_digits_is_none() -> None:
    assert content_length(headers(**{"content-length": "1" * 20})) is None


@pytest.mark.parametrize(
    ("upgrade", "connection", "wants"),
    [
        ("websocket", "Upgrade", True),
        ("websocket", "keep-alive, upgrade", True),
        ("websocket", "keep-alive", False),
        ("h2c", "Upgrade", False),
        ("", "Upgrade", False),
    ],
)
def test_another_protocol_is_wanted_where_the_connection_names_the_upgrade(
    upgrade: str, connection: str, wants: bool
) -> None:
    assert wants_upgrade(headers(upgrade=upgrade, connection=connection)) is wants


def test_the_protocols_own_and_repeated_headers_are_not_set_again() -> None:
    items = (("x-mine", b"1"), ("x-twice", b"2"), ("x-twice", b"3"), ("content-length", b"5"), (DESTINATION, b"evil"))
    assert echoed(Headers(items)) == (("x-mine", b"1"),)
