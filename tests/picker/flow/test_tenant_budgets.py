"""Which tenants are over their budgets, and how long they have to wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.flow.tenant_budgets import SAVED_SECONDS, TenantBudget, TenantBudgets


class Tenant:
    """One tenant, what it was charged, and a pool of four GPUs."""

    def __init__(self, budget: TenantBudget) -> None:
        self.charged = 0.0
        self.gpus = 4.0
        self.budgets = TenantBudgets({"a": budget}, lambda _: self.charged, lambda: self.gpus)


def test_a_tenant_may_have_what_it_saved_up_and_then_so_much_a_second() -> None:
    tenant = Tenant(TenantBudget(2.0))
    budgets = tenant.budgets
    assert budgets.credit_seconds("a", 100.0) == 2.0 * SAVED_SECONDS
    tenant.charged = 2.0 * SAVED_SECONDS
    assert budgets.over("a", 100.0)
    assert not budgets.over("a", 100.1)
    tenant.charged += 2.2
    assert budgets.over("a", 100.1)
    assert budgets.wait_seconds("a", 100.1) == pytest.approx(1.0)
    assert not budgets.over("a", 101.2)


def test_nothing_more_is_saved_up_than_of_ten_seconds() -> None:
    tenant = Tenant(TenantBudget(1.0))
    assert tenant.budgets.credit_seconds("a", 0.0) == 10.0
    assert tenant.budgets.credit_seconds("a", 1e6) == 10.0
    tenant.charged = 11.0
    assert tenant.budgets.wait_seconds("a", 1e6) == pytest.approx(1.0)


def test_a_share_is_of_the_gpus_that_are_ready() -> None:
    tenant = Tenant(TenantBudget(0.25, of_pool=True))
    assert tenant.budgets.credit_seconds("a", 0.0) == 10.0
    tenant.charged = 12.0
    tenant.gpus = 8.0
    assert tenant.budgets.wait_seconds("a", 0.0) == pytest.approx(1.0)
    tenant.gpus = 0.0
    assert tenant.budgets.wait_seconds("a", 0.0) == float("inf")
    assert tenant.budgets.look_seconds("a", 0.0) == 1.0


def test_what_was_expected_and_did_not_come_is_given_back() -> None:
    tenant = Tenant(TenantBudget(1.0))
    assert not tenant.budgets.over("a", 0.0)
    tenant.charged = 30.0
    assert tenant.budgets.over("a", 0.0)
    tenant.charged = 2.0
    assert tenant.budgets.credit_seconds("a", 0.0) == 8.0


def test_one_without_a_budget_is_never_over_it() -> None:
    budgets = Tenant(TenantBudget(1.0)).budgets
    assert not budgets.over("b", 0.0)
    assert budgets.wait_seconds("b", 0.0) == 0.0
    assert ("a" in budgets, "b" in budgets, len(budgets), budgets.tenants) == (True, False, 1, ["a"])


@pytest.mark.parametrize(("amount", "of_pool"), [(0.0, False), (-1.0, False), (1.5, True), (float("nan"), False)])
def test_budgets_that_cannot_be_are_refused(amount: float, of_pool: bool) -> None:
    with pytest.raises(ValueError, match="budgets"):
        TenantBudget(amount, of_pool=of_pool)


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 10.0)), max_size=50))
def test_what_is_let_go_within_the_budget_is_no_more_than_that_and_one_request(
    events: list[tuple[float, float]],
) -> None:
    """Whenever a tenant is not over, it has at most what its budget was so far, with what it may have saved up."""
    tenant, now = Tenant(TenantBudget(1.5)), 0.0
    for passed, cost in events:
        now += passed
        if not tenant.budgets.over("a", now):
            assert tenant.charged <= 1.5 * (now + SAVED_SECONDS) + 1e-6
            tenant.charged += cost
    assert tenant.charged <= 1.5 * (now + SAVED_SECONDS) + 10.0 + 1e-6
