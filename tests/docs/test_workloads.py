"""docs/workloads.md says what the rows of the tables say."""

from tests.docs.workloads import PAGE, renewed


def test_the_tables_of_workloads_and_parameters_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert renewed(page) == page, "renew it with: python -m tests.docs.workloads"
    assert page.count("\n|---|") == 4
