"""A recorded history is read strictly: each mistake is named with its place."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from infscale.doctor.replay.history_file import MAX_BYTES, parsed_history, read_history
from infscale.doctor.replay.past_syncs import PastSync, PerPod, Total, Unknown
from infscale.errors import ConfigError
from infscale.planner.scale_target import PodPhase, PodState


def parsed(*samples: Any, version: Any = 1) -> tuple[PastSync, ...]:
    return parsed_history(orjson.dumps({"version": version, "samples": list(samples)}), "h.json")


def test_all_of_a_sample_is_read() -> None:
    pods = [{"name": "a", "ready": True}, {"name": "b", "ready": False, "phase": "Pending", "deleting": True}]
    metrics = {
        "per_pod": {"pods": {"a": "1500m", "b": 2}},
        "total": {"total": 2.5},
        "items": {"items": ["1", 2]},
        "gone": {"unknown": "404"},
    }
    sample = {"at": "2001-09-09T01:46:40Z", "replicas": 2, "status_replicas": 1, "pods": pods, "metrics": metrics}
    (found,) = parsed(sample)
    assert found == PastSync(
        1e9,
        {
            "per_pod": PerPod({"a": 1500, "b": 2000}),
            "total": Total((2500,)),
            "items": Total((1000, 2000)),
            "gone": Unknown("404"),
        },
        2,
        1,
        (PodState("a"), PodState("b", PodPhase.PENDING, True, False)),
    )


def test_what_is_left_out_is_unknown() -> None:
    (found,) = parsed({"at": 5, "metrics": {}})
    assert found == PastSync(5.0, {})
    assert (found.replicas, found.status_replicas, found.pods) == (None, None, None)


def at(seconds: Any = 1.0, **more: Any) -> dict[str, Any]:
    return {"at": seconds, "metrics": {}, **more}


def of(value: Any) -> dict[str, Any]:
    return at(metrics={"m": value})


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([], "samples: expected 1 to"),
        ([{"at": 1}], "metrics"),
        ([at("noon")], "samples[0].at: expected seconds since 1970"),
        ([at("2026-01-31T12:00:00")], "samples[0].at: expected seconds since 1970"),
        ([at(-1)], "samples[0].at"),
        ([at(1e12)], "samples[0].at"),
        ([at(2), at(2)], "samples[1]: expected a time after that of the sample before"),
        ([at(replicas=-1)], "samples[0].replicas"),
        ([at(replicas=1.5)], "samples[0].replicas"),
        ([at(more=1)], "unknown key"),
        ([at(pods=[{"name": "a", "ready": True, "phase": "Gone"}])], "samples[0].pods[0].phase"),
        ([of({})], "samples[0].metrics.m: expected one of pods, total, items, unknown"),
        ([of({"total": 1, "pods": {}})], "samples[0].metrics.m: expected one of"),
        ([of({"total": "many"})], "samples[0].metrics.m.total: expected a quantity such as"),
        ([of({"total": None})], "samples[0].metrics.m: expected one of"),
        ([of({"total": 1e300})], "samples[0].metrics.m.total: expected a quantity such as"),
        ([of({"pods": {"a": True}})], "samples[0].metrics.m.pods.a"),
    ],
)
def test_a_mistake_is_named_with_its_place(samples: list[Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(*samples)
    assert words in str(caught.value)
    assert str(caught.value).startswith("h.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is no JSON"),
        (b"[]", "expected"),
        (b"[" * 900 + b"]" * 900, "is nested too deeply"),
        (b'{"version": 2, "samples": []}', "version"),
        (b" " * (MAX_BYTES + 1), "is larger than 16 MiB"),
    ],
    ids=["cut off", "a list", "deep", "another version", "large"],
)
def test_another_file_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parsed_history(content, "h.json")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--series: .*gone cannot be read: No such file"):
        read_history(tmp_path / "gone")
