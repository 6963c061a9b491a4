"""Policies as people name them."""

from pathlib import Path

import pytest

from infscale.errors import ConfigError
from infscale.simulate.baselines import BASELINES
from infscale.simulate.policy import named_policy
from picker.epp_config.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_that_preset(name: str) -> None:
    assert named_policy(name).text == PRESETS[name]
    assert named_policy(name).scrape_seconds is None
    assert named_policy(f"{name}@50ms").scrape_seconds == 0.05
    assert named_policy(f"{name}@50ms").text == PRESETS[name]


@pytest.mark.parametrize(
    ("suffix", "queued", "preempts"),
    [("", None, True), ("@queued", True, True), ("@queued@unpreempted", True, False), ("@50ms@unqueued", False, True)],
)
def test_behind_a_name_stands_whether_requests_wait_and_have_others_taken_back(
    suffix: str, queued: bool | None, preempts: bool
) -> None:
    policy = named_policy(f"infscale{suffix}")
    assert (policy.queued, policy.preempts, policy.text) == (queued, preempts, PRESETS["infscale"])


def test_a_file_is_its_text(tmp_path: Path) -> None:
    file = tmp_path / "mine@home.yaml"
    file.write_text(PRESETS["reference"])
    policy = named_policy(f"{file}@2s")
    assert (policy.text, policy.source, policy.scrape_seconds) == (PRESETS["reference"], str(file), 2.0)
    assert policy.scheduling().scheduler.profiles.keys() == {"default"}
    assert named_policy(str(file)).scrape_seconds is None


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("infscal", "'infscal' is no file, and none of infscale, in-flight-tokens, reference"),
        ("round-robins", "did you mean round-robin"),
        ("infscale@5", "expected an interval of 10ms–60s behind @"),
        ("infscale@1ms", "expected an interval of 10ms–60s behind @"),
        ("random@50ms", "scrapes nothing"),
        ("random@unpreempted", "never has requests wait"),
    ],
)
def test_what_is_none_is_refused_in_a_line(words: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        named_policy(words)
    assert problem in str(caught.value)


def test_a_file_that_is_no_configuration_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(PRESETS["reference"].replace("weight: 2", "wieght: 2"))
    with pytest.raises(ConfigError) as caught:
        named_policy(str(file))
    assert f"{file}:" in "".join(caught.value.lines())


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_no_picker(name: str) -> None:
    assert not named_policy(name).picks
