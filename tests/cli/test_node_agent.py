"""The command's arguments; what it does is tested in tests/node_agent/test_program.py."""

import pytest

from infscale.cli.main import main


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--listen", "nowhere"], "--listen: expected address:port"),
        (["--listen", "10.0.0.1:70000"], "--listen: expected address:port"),
        (["--interval-seconds", "0"], "--interval-seconds: expected 0.1 to 10, got 0"),
        (["--timeout-seconds", "nan"], "--timeout-seconds: expected 0.1 to 10, got nan"),
        (["--tls-key", "x"], "--tls-key: goes with --tls-certificate"),
        (["--client-ca", "x"], "--client-ca: goes with --tls-certificate"),
        (["--tls-certificate", "x"], "--tls-certificate: needs its key"),
        (["--tls-certificate", "absent", "--tls-key", "x"], "--tls-certificate: absent"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    flags: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["node-agent", *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"infscale: {problem}")
    assert said.count("\n") == 1
