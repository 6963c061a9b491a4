"""Declared plugins: what runs because of it, and what is said about it."""

import pytest

from infscale.errors import ConfigError
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.scheduling.admitters import ProbabilisticAdmitter
from tests.fakes.pools import FakePool, context

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"


def loaded(body: str) -> PickerConfig:
    return load_picker_config(HEAD + body, "epp.yaml")


def test_admitters_run_because_they_are_declared() -> None:
    assert loaded("plugins: [{type: probabilistic-admitter}]\n").admitters == (ProbabilisticAdmitter(),)
    given = "{queueDepthThreshold: 9, kvCacheUtilThreshold: 0.7, power: 2, k: 1}"
    config = loaded(f"plugins: [{{type: probabilistic-admitter, parameters: {given}}}]\n")
    assert config.admitters == (ProbabilisticAdmitter(9.0, 0.7, 2.0, 1.0),)


def test_deprecated_types_work_and_are_said_to_be() -> None:
    config = loaded(
        """\
plugins:
- {type: by-label, parameters: {label: tier, validValues: [a], allowsNoLabel: true}}
- {type: by-label-selector, parameters: {matchLabels: {tier: a}}}
"""
    )
    (profile,) = config.scheduler.profiles.values()
    pool = FakePool(4, labels=[{"tier": "a"}, {"tier": "b"}, {}, {"tier": ""}])
    assert [each.keep(context(pool), pool.rows).tolist() for each in profile.filters] == [[0, 2], [0]]
    assert config.notes == (
        "epp.yaml:4: plugins[0]: by-label is deprecated; use label-selector-filter",
        "epp.yaml:5: plugins[1]: by-label-selector is deprecated; use label-selector-filter",
    )


def test_by_label_takes_an_absent_label_for_an_empty_one() -> None:
    config = loaded('plugins: [{type: by-label, parameters: {label: tier, validValues: [""]}}]\n')
    (profile,) = config.scheduler.profiles.values()
    (each,) = profile.filters
    pool = FakePool(3, labels=[{"tier": "a"}, {}, {"tier": ""}])
    assert each.keep(context(pool), pool.rows).tolist() == [1, 2]


def test_parameters_without_effect_are_named() -> None:
    config = loaded("plugins: [{type: active-request-scorer, parameters: {requestTimeout: 1m}}]\n")
    place = "epp.yaml:3: plugins[0].parameters.requestTimeout"
    assert config.notes == (f"{place}: has no effect here: what is in flight ends with its exchange",)


def test_gpu_data_is_configured_elsewhere_and_said_to_be() -> None:
    config = loaded("plugins: [{type: dcgm-data-source}]\n")
    assert config.notes == (
        "epp.yaml:3: plugins[0]: dcgm-data-source is built in; "
        "GPU pages are scraped where `dcgm` in the main configuration says so",
    )


def test_a_plugin_says_where_it_takes_part() -> None:
    config = loaded(
        """\
plugins:
- {type: queue-scorer}
- {type: ready-filter}
- {type: utilization-detector}
- {type: probabilistic-admitter}
- {type: inflight-load-producer}
schedulingProfiles: [{name: p, plugins: [{pluginRef: queue-scorer, weight: 2}, {pluginRef: utilization-detector}]}]
saturationDetector: {pluginRef: utilization-detector}
"""
    )
    assert {each.name: each.uses for each in config.plugins} == {
        "queue-scorer": ("profile p × 2",),
        "ready-filter": (),
        "utilization-detector": ("saturation", "profile p"),
        "probabilistic-admitter": ("every request",),
        "inflight-load-producer": ("built in",),
    }


def test_parameters_are_read_where_no_profile_refers_to_the_plugin_too() -> None:
    with pytest.raises(ConfigError, match="x: unknown key"):
        loaded("plugins: [{type: queue-scorer, parameters: {x: 1}}]\nschedulingProfiles: [{name: p}]\n")


@pytest.mark.parametrize(
    ("plugins", "items"),
    [
        ("[]", 0),
        ("[{type: mm-embeddings-cache-scorer}]", 2048),
        ("[{type: mm-embeddings-cache-producer}]", 2048),
        ("[{type: mm-embeddings-cache-producer, parameters: {cacheSizeInMBPerServer: 1}}]", 1),
        ("[{type: mm-embeddings-cache-producer, parameters: {cacheSizeInEmbeddingsPerServer: 70}}]", 70),
    ],
)
def test_media_are_remembered_where_a_plugin_asks(plugins: str, items: int) -> None:
    assert loaded(f"plugins: {plugins}\n").media_items == items
