"""Model rewriting: which rule wins, and how targets are drawn."""

import random
from collections import Counter
from typing import Any

import pytest

from infscale.endpoint import ObjectKey, Pool, Rewrite, RewriteRule, RewriteTarget
from picker.directing.rewrite import RewriteTable, chosen_target, target_model
from tests.fakes.pools import NO_HEADERS, POOL, headers
from tests.reference_tables import TABLES

THE_POOL = Pool(POOL, {})


def rewrite(
    name: str, *rules: tuple[list[str], str], created: str = "", namespace: str = "default", pool: str = "pool"
) -> Rewrite:
    made = tuple(RewriteRule(tuple(models), (RewriteTarget(target),)) for models, target in rules)
    return Rewrite(ObjectKey(namespace, name), pool, made, created)


def goes_to(model: str, *rewrites: Rewrite) -> str:
    return target_model(model, NO_HEADERS, RewriteTable.of(rewrites, THE_POOL), random.Random(1))


def test_a_model_without_a_rule_stays() -> None:
    assert goes_to("m", rewrite("r", (["other"], "x"))) == "m"


def test_an_exact_rule_wins_over_a_generic_one_even_if_it_is_younger() -> None:
    old = rewrite("old", ([], "generic"), created="2025-01-01T00:00:00Z")
    young = rewrite("young", (["m"], "exact"), created="2026-01-01T00:00:00Z")
    assert goes_to("m", old, young) == "exact"
    assert goes_to("n", old, young) == "generic"


def test_the_oldest_of_equals_wins_then_the_first_listed() -> None:
    young = rewrite("young", (["m"], "young"), ([], "young-any"), created="2026-01-01T00:00:00Z")
    old = rewrite("old", (["m"], "old"), (["m"], "second"), ([], "old-any"), created="2025-01-01T00:00:00Z")
    assert goes_to("m", young, old) == "old"
    assert goes_to("n", young, old) == "old-any"


def test_any_model_of_a_rule_matches() -> None:
    assert goes_to("b", rewrite("r", (["a", "b"], "x"))) == "x"


def test_a_generic_rule_supplies_a_missing_model() -> None:
    assert goes_to("", rewrite("r", ([], "x"))) == "x"


@pytest.mark.parametrize(("namespace", "pool"), [("elsewhere", "pool"), ("default", "another")])
def test_rewrites_of_other_pools_and_namespaces_do_not_apply(namespace: str, pool: str) -> None:
    assert goes_to("m", rewrite("r", (["m"], "x"), namespace=namespace, pool=pool)) == "m"


@pytest.mark.parametrize("name", ["x_llm_d_model_name_rewrite", "x_gateway_model_name_rewrite"])
def test_the_header_comes_first(name: str) -> None:
    table = RewriteTable.of([rewrite("r", (["m"], "x"))], THE_POOL)
    assert target_model("m", headers(**{name: "named"}), table, random.Random(1)) == "named"


def test_a_header_that_repeats_the_model_leaves_it_to_the_rules() -> None:
    table = RewriteTable.of([rewrite("r", (["m"], "x"))], THE_POOL)
    assert target_model("m", headers(x_llm_d_model_name_rewrite="m"), table, random.Random(1)) == "x"


@pytest.mark.parametrize("case", TABLES["weighted_rewrite"])
def test_weighted_vectors_hold(case: dict[str, Any]) -> None:
    targets = [RewriteTarget(model, weight) for model, weight in case["targets"]]
    rng = random.Random(1)
    assert {chosen_target(targets, rng) for _ in range(2000)} == set(case["possible"])


def test_targets_are_drawn_by_weight_and_unweighted_ones_beside_them_never() -> None:
    targets = [RewriteTarget("a", 1), RewriteTarget("b", 3), RewriteTarget("c", None)]
    rng = random.Random(1)
    counts = Counter(chosen_target(targets, rng) for _ in range(4000))
    assert counts["c"] == 0
    assert abs(counts["b"] / 4000 - 0.75) < 0.03


def test_a_rule_without_targets_changes_nothing() -> None:
    table = RewriteTable({"m": ()})
    assert target_model("m", NO_HEADERS, table, random.Random(1)) == "m"
