"""The document of a pool has what readers are told of the pool and of its models, and says why values are unknown."""

from dataclasses import replace
from typing import Any

import pytest

from infscale.endpoint import DiscoveryState, ObjectKey, Pool
from infscale.latency.priors import shipped
from infscale.metrics.published.inspection import MAX_MODELS, MODEL_VALUES, POOL_VALUES, snapshot_document
from infscale.metrics.sample import ModelLoad
from infscale.metrics.store.metrics_store import MetricStore
from infscale.metrics.store.step_watch import NOT_YET_SEEN
from tests.fakes.samples import engine_sample
from tests.viewing.documents_of_stores import HOSTILE, NOW, store


def document(**more: Any) -> dict[str, Any]:
    made = store(**more)
    return snapshot_document(made.snapshots()[0], NOW)


def test_a_pool_has_the_values_that_readers_are_told() -> None:
    values = document()["values"]
    assert set(values) == set(POOL_VALUES)
    assert values["in_flight_requests"] == {"value": 1.0, "age_seconds": 0.0, "cause": None}
    unknown = values["waiting_requests"]
    assert unknown["value"] is None
    assert unknown["cause"].startswith("only 1 of 3 ready endpoints of llm/chat have a value fresher than 2 s")


def test_models_have_theirs() -> None:
    by_model = document()["by_model"]
    assert {name: set(values) for name, values in by_model.items()} == {
        "llama": set(MODEL_VALUES),
        HOSTILE: set(MODEL_VALUES),
        "sql": set(MODEL_VALUES),
    }


def test_of_a_lora_adapter_what_is_in_flight_is_known() -> None:
    adapter = document()["by_model"]["sql"]
    assert adapter["in_flight_requests"]["value"] == 0.0
    assert adapter["waiting_requests"]["value"] is None
    assert adapter["waiting_requests"]["cause"].startswith("engines count the requests of a LoRA adapter")


def test_an_endpoint_has_the_loads_of_its_models() -> None:
    first, second, *_ = document()["endpoints"]
    assert first["model_loads"]["llama"] == {"waiting_requests": 5.0, "running_requests": 2.0}
    assert first["model_loads"][HOSTILE]["running_requests"] is None
    assert (first["gpu_fresh"], second["queue_latency_p90_seconds"]) == (False, None)


def test_an_endpoint_has_the_model_of_its_steps_or_why_there_is_none() -> None:
    endpoint = store().snapshots()[0].endpoints[0]
    assert document()["endpoints"][0]["step_model"] == {
        "base_seconds": None,
        "prefill_token_seconds": None,
        "kv_token_seconds": None,
        "sequence_seconds": None,
        "error_ratio": None,
        "usable": False,
        "source": NOT_YET_SEEN,
    }
    labels = {**endpoint.labels, "infscale.dev/gpu": "H100", "infscale.dev/gpus": "1"}
    known = MetricStore("test", priors=shipped())
    known.sync(DiscoveryState((replace(endpoint, labels=labels),), (Pool(ObjectKey("llm", "chat"), {}),)))
    known.record_scrape(endpoint.key, engine_sample(0.0, 0.0, 0.0, {"Llama-3.1-8B": ModelLoad(0.0, 0.0)}), NOW)
    shown: dict[str, Any] = snapshot_document(known.snapshots()[0], NOW)
    model = shown["endpoints"][0]["step_model"]
    assert model["usable"]
    assert model["base_seconds"] == pytest.approx(6.4e-3, rel=0.05)
    assert model["source"].startswith("measurements of")


def test_of_very_many_models_some_are_left_out_and_counted() -> None:
    made = store()
    models = {f"m{number}": ModelLoad(1.0, 1.0) for number in range(MAX_MODELS + 10)}
    key = made.snapshots()[0].endpoints[0].key
    made.record_scrape(key, engine_sample(1.0, 1.0, 0.1, models), at=NOW)
    shown: dict[str, Any] = snapshot_document(made.snapshots()[0], NOW)
    assert len(shown["by_model"]) == MAX_MODELS
    assert shown["models_left_out"] == 11  # the eleventh is "llama", of another endpoint
