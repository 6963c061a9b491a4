"""Pages of engines as users report them, and what they must be read as."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.config.read import read_config
from infscale.documents.strict_document import load
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import SGLANG, VLLM
from infscale.metrics.pages.exposition import MetricSpec
from infscale.metrics.pages.interpreter import detect, interpret
from infscale.metrics.pages.written_dialects import NOT_GIVEN, EngineNames
from infscale.metrics.sample import EngineSample

PAGES = Path(__file__).parent / "pages"


def said(sample: EngineSample) -> tuple[float | None, ...]:
    return sample.gauges.running, sample.gauges.waiting, sample.gauges.kv_utilization, sample.gauges.kv_used_tokens


def page(name: str) -> bytes:
    return (PAGES / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "dialect", "expected"),
    [
        ("sglang-dp-attention.prom", SGLANG, (46, 6, 0.4, 10_000)),
        ("sglang-context-parallel.prom", SGLANG, (12, 2, 0.3, 3_000)),
        ("sglang-tensor-parallel.prom", SGLANG, (12, 2, 0.3, 3_000)),
        ("sglang-priority-total.prom", SGLANG, (7, 9, 0.25, None)),
        ("vllm-small.prom", VLLM, (1, 0, None, None)),
    ],
)
def test_a_reported_page_is_read_as(name: str, dialect: Dialect, expected: tuple[float | None, ...]) -> None:
    assert detect(page(name)) is dialect
    assert said(interpret(page(name), dialect)) == expected


def ranks(*label_sets: str) -> bytes:
    """Every label set runs one request more than the one before."""
    return "".join(
        f"sglang:num_running_reqs{{{labels}}} {2**number}\n" for number, labels in enumerate(label_sets)
    ).encode()


@pytest.mark.parametrize(
    ("label_sets", "running"),
    [
        pytest.param(['tp_rank="0"', 'tp_rank="1"'], 1, id="tensor parallel"),
        pytest.param(['tp_rank="0",pp_rank="0"', 'tp_rank="0",pp_rank="1"'], 1, id="pipeline parallel"),
        pytest.param(['tp_rank="0",moe_ep_rank="0"', 'tp_rank="1",moe_ep_rank="1"'], 1, id="experts"),
        pytest.param(['tp_rank="0",attn_cp_rank="1"', 'tp_rank="0",attn_cp_rank="0"'], 2, id="context parallel"),
        pytest.param(['tp_rank="10"', 'tp_rank="9"'], 2, id="ranks are numbers"),
        pytest.param(['tp_rank="3"', 'tp_rank="2"'], 2, id="a node without the first rank"),
        pytest.param(['tp_rank="0",pid="1"', 'tp_rank="1",pid="2"'], 1, id="processes are no schedulers"),
        pytest.param(
            [
                'dp_rank="0",tp_rank="0"',
                'dp_rank="0",tp_rank="1"',
                'dp_rank="1",tp_rank="2"',
                'dp_rank="1",tp_rank="3"',
            ],
            1 + 4,
            id="schedulers of two ranks each, numbered on",
        ),
        pytest.param(
            [
                'dp_rank="0",tp_rank="0"',
                'dp_rank="0",tp_rank="1"',
                'dp_rank="1",tp_rank="0"',
                'dp_rank="1",tp_rank="1"',
            ],
            1 + 4,
            id="schedulers of two ranks each, numbered anew",
        ),
        pytest.param(
            [f'dp_rank="{dp}",pp_rank="{pp}",tp_rank="{dp}"' for pp in (0, 1) for dp in (0, 1)],
            1 + 2,
            id="schedulers in a pipeline",
        ),
        pytest.param(['dp_rank="0"', 'dp_rank="1"'], 3, id="no ranks within schedulers"),
        pytest.param(["", 'tp_rank="1"'], 1, id="no label speaks for the first"),
        pytest.param(['dp_rank="",tp_rank="0"', 'tp_rank="1"'], 1, id="an empty label is none"),
        pytest.param(['model_name="a",tp_rank="0"', 'model_name="b",tp_rank="4"'], 3, id="another model's ranks"),
        pytest.param(['priority="0"', 'priority="5"'], 3, id="parts without a total are added up"),
        pytest.param(['priority="0"', 'priority=""', 'priority="5"'], 2, id="a total beside its parts"),
        pytest.param(
            [f'dp_rank="{dp}",tp_rank="{dp}",priority="{priority}"' for dp in (0, 1) for priority in ("", "5")],
            1 + 4,
            id="totals of two schedulers",
        ),
    ],
)
def test_a_scheduler_speaks_once_through_its_lowest_rank(label_sets: list[str], running: float) -> None:
    assert interpret(ranks(*label_sets), SGLANG).gauges.running == running


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_what_schedulers_run_adds_up_however_their_ranks_are_numbered(
    running: list[int], each: int, pipeline: int, on: bool, rng: random.Random
) -> None:
    lines = [
        f'sglang:num_running_reqs{{dp_rank="{dp}",pp_rank="{pp}",tp_rank="{tp + dp * each * on}"}} {count}\n'
        for dp, count in enumerate(running)
        for pp in range(pipeline)
        for tp in range(each)
    ]
    rng.shuffle(lines)
    assert interpret("".join(lines).encode(), SGLANG).gauges.running == sum(running)


@pytest.mark.parametrize(
    ("labels", "matches"),
    [({}, True), ({"priority": ""}, True), ({"priority": "0"}, False), ({"state": "x"}, True)],
    ids=["absent", "empty", "another value", "others do not matter"],
)
def test_a_metric_spec_selects_an_empty_label(labels: dict[str, str], matches: bool) -> None:
    spec = MetricSpec.parse('queue{priority=""}')
    assert spec is not None
    assert spec.matches(labels) is matches


def test_a_label_without_quotes_is_not_empty() -> None:
    with pytest.raises(ValueError, match="labels of a metric spec are written"):
        MetricSpec.parse("queue{priority=}")


def test_a_configured_dialect_selects_a_total_by_its_empty_label() -> None:
    text = """
        discovery: {file: d.yaml}
        scrape:
          dialects:
          - name: acme
            waiting: 'acme_queue{class=""}'
            running: acme_running
    """
    [acme] = read_config(load(text, "serve.yaml"), Path()).scrape.dialects
    assert acme == EngineNames(
        "acme", gauges=NOT_GIVEN._replace(waiting='acme_queue{class=""}', running="acme_running")
    )
    of_parts = b'acme_queue{class=""} 9\nacme_queue{class="batch"} 8\nacme_queue{class="chat"} 1\nacme_running 7\n'
    assert said(interpret(of_parts, acme.dialect()))[:2] == (7, 9)
