"""Single values of documents, and how others are refused."""

from collections.abc import Callable
from typing import Any

import pytest

from infscale.documents import values
from infscale.documents.strict_document import Field, from_plain
from infscale.errors import ConfigError


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (values.interval, 0.01, 0.01),
        (values.seconds, 0, 0.0),
        (values.positive_seconds, 86_400, 86_400.0),
        (values.ratio, 1, 1.0),
        (values.byte_count, 1024, 1024),
        (values.port, 65_535, 65_535),
        (values.url, "https://[fd00::1]:9400/metrics?a=b", "https://[fd00::1]:9400/metrics?a=b"),
        (values.url_path, "/metrics", "/metrics"),
    ],
)
def test_a_value_of_its_form_is_read(read: Callable[[Field], object], value: Any, expected: object) -> None:
    assert read(from_plain(value, "f")) == expected


@pytest.mark.parametrize(
    ("read", "value", "problem"),
    [
        (values.interval, 0.001, "0.01"),
        (values.seconds, "200ms", "expected a number of seconds, such as 0.5, got '200ms'; write 0.2"),
        (values.seconds, 86_401, "86400"),
        (values.positive_seconds, 0, "expected more than 0, got 0"),
        (values.ratio, 1.1, "1"),
        (values.ratio, 0, "expected more than 0"),
        (values.byte_count, 1, "1024"),
        (values.port, 0, "1"),
        (values.url, "ftp://a/b", "expected an address such as"),
        (values.url, "http://a:0/", "expected an address such as"),
        (values.url, "http://a b/", "expected an address such as"),
        (values.url_path, "metrics", "expected a path such as /metrics"),
    ],
)
def test_another_is_refused_with_the_form_that_is_expected(
    read: Callable[[Field], object], value: Any, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        read(from_plain(value, "f"))
