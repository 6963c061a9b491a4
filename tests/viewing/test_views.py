"""Every page says what the documents say, and why what it does not know is unknown."""

import pytest

from infscale.endpoint import ObjectKey
from infscale.viewing.grid import STORE_VIEW, Mark, Page, Row, View, ViewKind
from infscale.viewing.views import view_page
from tests.viewing.documents_of_stores import AUTOSCALERS, HOSTILE, NOW, POOL, looked_at, store, store_beside

POOL_VIEW = View(ViewKind.POOL, POOL)
ENDPOINT = "llm/vllm-{}"


def cells(page: Page, section: str, key: str) -> dict[str, str]:
    """The texts of a row by the titles of its columns."""
    found = next(each for each in page.sections if each.title == section)
    row = next(each for each in found.rows if each.key == key)
    return {column.title: cell.text for column, cell in zip(found.columns, row.cells, strict=True)}


def row_of(page: Page, section: str, key: str) -> Row:
    return next(row for each in page.sections if each.title == section for row in each.rows if row.key == key)


def test_the_store_has_pools_and_autoscalers() -> None:
    page = view_page(looked_at(), STORE_VIEW)
    pool = cells(page, "pools", POOL)
    assert (pool["ready"], pool["fresh"], pool["in flight"]) == ("3/4", "1", "1")
    assert (pool["waiting"], pool["sat."], pool["age"]) == ("–", "–", "–")
    assert row_of(page, "pools", POOL).opens == POOL_VIEW
    scaler = cells(page, "autoscalers", "llm/scaler")
    assert (scaler["pods"], scaler["wants"], scaler["range"]) == ("2", "6", "1–8")
    assert (scaler["metric"], scaler["now"], scaler["target"]) == ("waiting_requests +1", "6", "2 per pod")


def test_what_waits_in_the_picker_is_shown_of_pools_and_models() -> None:
    page = view_page(looked_at(), STORE_VIEW)
    assert (cells(page, "pools", POOL)["held"], cells(page, "pools", POOL)["held p90"]) == ("–", "–")
    assert "held in the picker" not in view_page(looked_at(), POOL_VIEW).facts[1]
    made = store()
    book = made.open_queue(ObjectKey("llm", "chat"), 0.0)
    for _ in range(3):
        book.came(book.place("llama", 100.0, NOW - 4.0))
    page = view_page(looked_at(made), POOL_VIEW)
    assert page.facts[1].endswith("3 requests held in the picker, wait there p90 3.9 s")
    assert cells(page, "models", "llama")["held"] == "3"
    assert cells(page, "models", HOSTILE)["held"] == "0"
    assert cells(view_page(looked_at(made), STORE_VIEW), "pools", POOL)["held p90"] == "3.9 s"


def test_without_an_adapter_autoscalers_are_said_to_be_unknown() -> None:
    page = view_page(looked_at(autoscalers=None), STORE_VIEW)
    assert [section.title for section in page.sections] == ["pools", "KEDA triggers"]
    assert "autoscalers are not known: this process has no adapter, or no cluster" in page.facts


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, {"state": "full", "age": "400 ms", "waiting": "6", "running": "2", "in flight": "1", "KV": "90%"}),
        (1, {"state": "stale", "age": "7.0 s*", "waiting": "1*", "running": "1*", "KV": "50%*", "sat.": "–"}),
        (2, {"state": "never read", "age": "–", "waiting": "–", "in flight": "0", "KV": "–", "queue p90": "–"}),
        (3, {"state": "starting", "age": "–"}),
    ],
)
def test_an_endpoint_is_shown_with_what_is_unknown_and_stale(number: int, expected: dict[str, str]) -> None:
    found = cells(view_page(looked_at(), POOL_VIEW), "endpoints", ENDPOINT.format(number))
    assert {title: found[title] for title in expected} == expected


@pytest.mark.parametrize(
    ("number", "value", "cause"),
    [
        (1, "waiting_requests", "it is older than the staleness limit of 2 s: timed out, 1.0 s ago"),
        (2, "waiting_requests", "it was never read: connection refused, 500 ms ago"),
        (3, "waiting_requests", "it was not read yet"),
        (0, "waiting_tokens", "its metrics page does not have it"),
        (0, "gpu_memory_used_bytes", "no GPU exporter has said anything of it"),
        (0, "model_load_seconds", "discovery does not say it"),
        (0, "in_flight_requests", ""),
    ],
)
def test_the_page_of_an_endpoint_says_why_values_are_unknown(number: int, value: str, cause: str) -> None:
    page = view_page(looked_at(), View(ViewKind.ENDPOINT, POOL, ENDPOINT.format(number)))
    assert cells(page, "values", value)["why"] == cause


def test_values_of_an_endpoint_have_their_ages_and_models() -> None:
    page = view_page(looked_at(), View(ViewKind.ENDPOINT, POOL, ENDPOINT.format(0)))
    assert cells(page, "values", "waiting_requests")["age"] == "400 ms"
    assert cells(page, "values", "in_flight_requests")["age"] == ""
    assert cells(page, "models", HOSTILE) == {"model": HOSTILE, "age": "400 ms", "waiting": "1", "running": "–"}
    assert row_of(page, "models", "llama").opens == View(ViewKind.MODEL, POOL, "llama")
    assert "LoRA adapters of at most 4: running sql" in page.facts


def test_a_model_is_shown_of_the_pool_and_of_each_endpoint() -> None:
    page = view_page(looked_at(), View(ViewKind.MODEL, POOL, "llama"))
    assert cells(page, "endpoints", ENDPOINT.format(0))["waiting"] == "5"
    assert cells(page, "endpoints", ENDPOINT.format(1))["waiting"] == "1*"
    assert cells(page, "values", "in_flight_requests")["now"] == "1"
    told = cells(page, "values", "waiting_requests")
    assert (told["now"], told["why"].partition(";")[0]) == (
        "–",
        "only 1 of 3 ready endpoints of llm/chat have a value fresher than 2 s",
    )


def test_a_lora_adapter_is_a_model_of_the_endpoints_that_have_it() -> None:
    page = view_page(looked_at(), View(ViewKind.MODEL, POOL, "sql"))
    assert cells(page, "endpoints", ENDPOINT.format(0))["waiting"] == "–"
    assert "engines count the requests" in cells(page, "values", "waiting_requests")["why"]


def test_an_autoscaler_says_what_it_is_told_and_what_is_not_known() -> None:
    page = view_page(looked_at(), View(ViewKind.AUTOSCALER, "", "llm/scaler"))
    assert page.facts[1] == "its metrics here make 6: waiting_requests 6 per pod / target 2 → 6 replicas"
    assert "not known here: the controller's history" in page.facts
    known, unknown = cells(page, "metrics", "0"), cells(page, "metrics", "1")
    assert (known["now"], known["target"], known["age"], known["makes"]) == ("6", "2 per pod", "400 ms", "6")
    assert (unknown["now"], unknown["target"], unknown["makes"], unknown["why"]) == ("–", "800m", "–", "no exporter")


def test_a_pool_names_the_autoscalers_that_ask_for_it() -> None:
    page = view_page(looked_at(), POOL_VIEW)
    assert row_of(page, "autoscalers", "llm/scaler").opens == View(ViewKind.AUTOSCALER, "", "llm/scaler")


def test_an_autoscaler_of_which_nothing_is_known_wants_nothing() -> None:
    (whole,) = AUTOSCALERS["autoscalers"]  # type: ignore[misc] # a list of one
    unknown = {"autoscaler": whole["autoscaler"], "target": whole["target"]}  # type: ignore[index] # an object
    page = view_page(looked_at(autoscalers={"autoscalers": [unknown], "left_out": 2}), STORE_VIEW)
    found = cells(page, "autoscalers", "llm/scaler")
    assert (found["wants"], found["pods"], found["range"], found["now"]) == ("–", "–", "–", "–")
    assert "2 more autoscalers not shown" in page.facts


def test_triggers_of_keda_have_what_they_were_told() -> None:
    page = view_page(looked_at(), STORE_VIEW)
    slo = cells(page, "KEDA triggers", "llm/vllm infscale_replicas_of_load")
    assert slo == {
        "KEDA trigger": "llm/vllm",
        "pool": "chat",
        "metric": "infscale_replicas_of_load",
        "now": "2.25",
        "target": "1",
        "age": "1.5 s",
        "active": "yes",
        "streams": "1",
    }
    refused = cells(page, "KEDA triggers", "llm/vllm waiting_requests")
    assert (refused["now"], refused["target"], refused["active"]) == ("–", "4", "no")
    assert cells(page, "KEDA triggers", "llm/vllm waiting_requests #2")["now"] == "6", "another trigger of that metric"
    new = cells(page, "KEDA triggers", f"llm/new running_requests of {HOSTILE}")
    assert (new["pool"], new["now"], new["age"], new["active"], new["streams"]) == ("all", "–", "–", "–", "0")


def test_a_pool_names_the_triggers_that_ask_for_it() -> None:
    page = view_page(looked_at(), POOL_VIEW)
    [section] = [each for each in page.sections if each.title == "KEDA triggers"]
    assert [row.key for row in section.rows] == [
        "llm/vllm infscale_replicas_of_load",
        "llm/vllm waiting_requests",
        "llm/vllm waiting_requests #2",
    ]
    for row in section.rows:
        assert row.opens == View(ViewKind.TRIGGER, "", row.key)


@pytest.mark.parametrize(
    ("name", "facts", "value_why", "active_why"),
    [
        (
            "llm/vllm infscale_replicas_of_load",
            [
                "ScaledObject llm/vllm asks for infscale_replicas_of_load of pool llm/chat",
                "1 stream open: KEDA learns at once that it becomes active",
            ],
            "2 pods are ready, 0 start; ttft_p90=1s: 0.9",
            "",
        ),
        (
            "llm/vllm waiting_requests",
            [
                "ScaledObject llm/vllm asks for waiting_requests of pool llm/chat",
                "1 stream open: KEDA learns at once that it becomes active",
            ],
            "the metric is unknown now",
            "",
        ),
        (
            f"llm/new running_requests of {HOSTILE}",
            [
                f"ScaledObject llm/new asks for running_requests of all pools of its namespace, model {HOSTILE}",
                "no stream is open: KEDA polls (type external), or is not connected",
            ],
            "KEDA has not asked",
            "no endpoint and no InferencePool was discovered yet",
        ),
    ],
)
def test_a_trigger_says_what_it_was_told_and_why(name: str, facts: list[str], value_why: str, active_why: str) -> None:
    page = view_page(looked_at(), View(ViewKind.TRIGGER, "", name))
    assert [*page.facts] == facts
    assert cells(page, "told to KEDA", "value")["why"] == value_why
    assert cells(page, "told to KEDA", "active")["why"] == active_why


def test_without_a_scaler_for_keda_no_triggers_are_shown() -> None:
    for view in (STORE_VIEW, POOL_VIEW):
        page = view_page(looked_at(triggers=None), view)
        assert "KEDA triggers" not in [section.title for section in page.sections]
    [section] = [each for each in view_page(looked_at(triggers={"triggers": []}), STORE_VIEW).sections][2:]
    assert (section.title, section.empty) == ("KEDA triggers", "KEDA has not asked about any")


@pytest.mark.parametrize("kind", ViewKind)
def test_what_has_gone_is_said_to_be_gone(kind: ViewKind) -> None:
    page = view_page(looked_at(), View(kind, "llm/none", "none"))
    assert kind is ViewKind.STORE or page.facts == (f"there is no {kind.value} {page.path[-1][0]} now",)


def test_a_server_that_says_that_it_takes_no_requests_is_not_ready() -> None:
    """Whatever its page says; one that is stale does not become fresh by saying that it serves."""
    seen = looked_at(store_beside())
    endpoints = view_page(seen, POOL_VIEW)
    assert cells(endpoints, "endpoints", ENDPOINT.format(0))["state"] == "not serving"
    assert cells(endpoints, "endpoints", ENDPOINT.format(1))["state"] == "stale"
    pool = cells(view_page(seen, STORE_VIEW), "pools", POOL)
    assert (pool["ready"], pool["fresh"], pool["age"]) == ("2/4", "0", "–")
    page = view_page(seen, View(ViewKind.ENDPOINT, POOL, ENDPOINT.format(0)))
    assert "over gRPC it says that it takes no requests, 3.0 s ago" in page.facts
    other = view_page(seen, View(ViewKind.ENDPOINT, POOL, ENDPOINT.format(1)))
    assert "over gRPC it says that it takes requests, 3.0 s ago" in other.facts


def test_a_pool_shows_what_queries_of_a_prometheus_said_of_it() -> None:
    page = view_page(looked_at(store_beside()), POOL_VIEW)
    whole = {
        "query": "cost",
        "of": "whole pool",
        "now": "12.5",
        "age": "4.0 s",
        "why": "its last evaluation failed: timed out",
    }
    assert cells(page, "queries", "cost ") == whole
    assert cells(page, "queries", f"cost {HOSTILE}")["now"] == "3"
    power = cells(page, "queries", "power llm/vllm-0")
    assert (power["of"], power["now"], power["age"], power["why"]) == ("llm/vllm-0", "310", "2.0 s", "")
    never = cells(page, "queries", "never")
    assert (never["of"], never["now"], never["why"]) == ("", "–", "its last evaluation failed: connection refused")


def test_without_queries_a_pool_has_no_table_of_them() -> None:
    assert "queries" not in [section.title for section in view_page(looked_at(), POOL_VIEW).sections]


def test_a_full_endpoint_is_marked() -> None:
    row = row_of(view_page(looked_at(), POOL_VIEW), "endpoints", ENDPOINT.format(0))
    marks = {cell.text: cell.mark for cell in row.cells}
    assert marks["full"] is Mark.WARNING
    assert marks["90%"] is Mark.WARNING
