"""How requests wait, as the configuration file writes it."""

import pytest

from infscale.config.flow_control_settings import BudgetSettings, flow_control_settings
from infscale.documents.strict_document import Plain, from_plain
from infscale.errors import ConfigError


def test_shares_of_bands_are_by_their_priorities() -> None:
    read = flow_control_settings(from_plain({"band_shares": {"-10": 0.2, "0": 0.5}}, "f"))
    assert read.band_shares == {-10: 0.2, 0: 0.5}
    assert flow_control_settings(from_plain({}, "f")).band_shares is None


@pytest.mark.parametrize(
    ("shares", "problem"),
    [
        ({"batch": 0.2}, "expected a priority, a whole number such as -10, as key, got 'batch'"),
        ({"1.5": 0.2}, "expected a priority"),
        ({"0": 0}, "expected more than 0"),
        ({"0": 1.5}, "1"),
        ({"0": 0.6, "-10": 0.5}, "expected shares of together at most 1, got 1.1"),
    ],
)
def test_shares_that_cannot_be_are_refused_with_their_place(shares: dict[str, Plain], problem: str) -> None:
    with pytest.raises(ConfigError, match="band_shares") as refused:
        flow_control_settings(from_plain({"band_shares": shares}, "f"))
    assert problem in str(refused.value)


def test_budgets_are_gpu_seconds_per_second_or_shares_of_the_pool() -> None:
    read = flow_control_settings(from_plain({"budgets": {"a": 2, "b": "12.5%"}, "over_budget": "wait"}, "f"))
    assert read.budgets == {"a": BudgetSettings(2.0), "b": BudgetSettings(0.125, of_pool=True)}
    assert read.over_budget == "wait"
    default = flow_control_settings(from_plain({}, "f"))
    assert (default.budgets, default.over_budget) == (None, "yield")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"budgets": {"a": 0}}, "budgets.a: expected more than 0"),
        ({"budgets": {"a": -1.5}}, "budgets.a"),
        ({"budgets": {"a": "0%"}}, "budgets.a: expected GPU-seconds per second, or a share of the pool such as 25%"),
        ({"budgets": {"a": "101%"}}, "expected GPU-seconds per second"),
        ({"budgets": {"a": "two"}}, "got 'two'"),
        ({"budgets": {"a": True}}, "budgets.a"),
        ({"budgets": ["a"]}, "budgets"),
        ({"over_budget": "refuse"}, "over_budget"),
    ],
)
def test_budgets_that_cannot_be_are_refused_with_their_place(given: dict[str, Plain], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        flow_control_settings(from_plain(given, "f"))
    assert problem in str(refused.value)
