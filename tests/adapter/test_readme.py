"""The README's tables say what the code does."""

import re

from adapter.errors import ApiError
from tests.adapter.support import rows


def test_the_table_of_errors_has_every_refusal() -> None:
    codes = {int(match[0]) for row in rows("Errors") if (match := re.match(r"\d+", row[0]))}
    assert codes == {500, *(each.code for each in ApiError.__subclasses__())}
