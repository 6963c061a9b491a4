"""docs/engines.md says what the rows of the tables say."""

from tests.docs.engines import PAGE, renewed


def test_the_tables_of_engines_and_exporters_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert renewed(page) == page, "renew it with: python -m tests.docs.engines"
    assert page.count("\n|---|") == 4
