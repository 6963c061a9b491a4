"""`infscale bill`: bad arguments are refused in one line; what it tells, tests/e2e/picking/test_bill.py asks for."""

import pytest

from infscale.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "2d"], "--since: expected a duration of 1s–24h such as 90m, got '2d'"),
        (["--since", "25h"], "--since: expected a duration"),
        (["--since", "0"], "--since: expected a duration"),
        (["--by", "tenant,colour"], "--by: expected some of tenant, model, adapter, priority, pool with commas"),
        (["--price", "-1"], "--price: expected a number that is not negative"),
        (["--price", "nan"], "--price: expected a number that is not negative"),
        (["--address", "127.0.0.1:9090"], "--address: expected a URL such as http://127.0.0.1:9090"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bill", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_where_nothing_answers_it_says_so_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bill", "--address", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == "infscale: http://127.0.0.1:1: connection refused\n"
