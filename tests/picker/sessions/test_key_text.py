"""Keys are read line by line, and what is wrong with one is said without showing it."""

from base64 import b64encode, urlsafe_b64encode

import pytest

from infscale.errors import ConfigError
from picker.sessions.key_text import read_keys

ONE, TWO = bytes(range(32)), bytes(range(200, 248))


def test_the_order_of_lines_is_that_of_keys() -> None:
    text = f"# of November\n\n  {b64encode(TWO).decode()}  \n{urlsafe_b64encode(ONE).decode()}\n"
    assert read_keys(text, "keys") == (TWO, ONE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "keys: there is no key; expected base64 of at least 32 random bytes (openssl rand -base64 32)"),
        ("# none\n", "keys: there is no key; expected base64 of at least 32 random bytes (openssl rand -base64 32)"),
        ("hunter2", "keys:1: expected base64 of at least 32 random bytes (openssl rand -base64 32)"),
        (f"#\n{b64encode(ONE[:31]).decode()}", "keys:2: expected base64 of at least 32 random bytes "),
        (f"{b64encode(ONE).decode()}\n" * 2, "keys:2: the same key stands above"),
        ("schlüssel", "keys:1: expected base64 of at least 32 random bytes"),
    ],
)
def test_what_is_no_key_is_refused_by_its_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_keys(text, "keys")
    assert str(caught.value).startswith(said)
    assert "hunter2" not in str(caught.value)
