"""A metric selector picks pools, and one model or all."""

import pytest

from infscale.aggregation.label_sets import choose, label_sets
from infscale.config.settings import FormulaSettings
from infscale.errors import SeveralModels
from infscale.labels import Selector
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.metric_table import formula_metric
from tests.aggregation.support import world


@pytest.mark.parametrize(
    ("selector", "pools", "model"),
    [
        pytest.param("", ["a", "b"], None, id="everything"),
        pytest.param("pool=b", ["b"], None, id="a pool, of all its models"),
        pytest.param("model_key=of-a", ["a"], "of-a", id="the pools that serve a model"),
        pytest.param("model_key=of-a,pool=b", [], None, id="nothing"),
    ],
)
def test_what_a_metric_selector_picks(selector: str, pools: list[str], model: str | None) -> None:
    choice = choose(BY_NAME["waiting_requests"], world().snapshots(), Selector.parse(selector))
    assert ([each.pool.name for each in choice.snapshots], choice.model) == (pools, model)


def test_several_models_are_refused() -> None:
    with pytest.raises(SeveralModels, match="2 models are picked"):
        choose(BY_NAME["waiting_requests"], world().snapshots(), Selector.parse("model_key in (of-a, of-b)"))


def test_a_formula_of_dispatches_has_the_models_that_requests_ask_for() -> None:
    store = world()
    first = store.snapshots()[0].pool
    store.charge(first, 0, "asked-for", 1.0, 1.0)
    snapshot = store.snapshot(first)
    assert snapshot is not None
    assert label_sets(formula_metric(FormulaSettings("a", "in_flight_tokens / 2")), snapshot) == ("of-a", "asked-for")
    assert label_sets(formula_metric(FormulaSettings("a", "waiting_requests / 2")), snapshot) == ("of-a",)
