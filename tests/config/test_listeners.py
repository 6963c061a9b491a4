"""Where something listens, as the configuration file writes it."""

import pytest

from infscale.config.listeners import listen, loopback
from infscale.config.settings import ListenAddress
from infscale.documents.strict_document import from_plain
from infscale.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:0", ListenAddress("127.0.0.1", 0)),
        ("localhost:80", ListenAddress("localhost", 80)),
        ("[::]:80", ListenAddress("::", 80)),
    ],
)
def test_an_address_and_a_port_are_read(text: str, expected: ListenAddress) -> None:
    assert listen(from_plain(text, "f")) == expected


@pytest.mark.parametrize("text", ["::1:80", "[127.0.0.1]:80", "127.0.0.1:65536", "127.0.0.1:080", "80", "a:80"])
def test_others_are_refused_with_the_form_that_is_expected(text: str) -> None:
    with pytest.raises(ConfigError, match="expected address:port"):
        listen(from_plain(text, "f"))


def test_where_only_this_machine_may_ask_the_address_is_loopback() -> None:
    read = loopback("its callers are not checked")
    assert read(from_plain("127.0.0.1:80", "f")) == ListenAddress("127.0.0.1", 80)
    with pytest.raises(
        ConfigError, match=r"expected a loopback address, such as 127\.0\.0\.1:80.*its callers are not checked"
    ):
        read(from_plain("0.0.0.0:80", "f"))
