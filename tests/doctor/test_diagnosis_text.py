"""The diagnosis for people: within 80 columns, with whole commands, and nothing that a terminal acts on."""

from dataclasses import replace
from pathlib import Path

from infscale.doctor.diagnosis import diagnosed
from infscale.doctor.diagnosis_text import WIDTH, clean, lines
from infscale.doctor.view.seen_scalers import SeenCondition
from tests.doctor import healthy as made
from tests.doctor.rules.test_rule_table import PLANTED


def shown(found: object) -> list[str]:
    return [each.text for each in lines(diagnosed(found))]  # type: ignore[arg-type]


def test_a_healthy_cluster_is_said_in_full_and_nothing_is_wrong() -> None:
    text = shown(made.view())
    assert text[0].startswith("Kubernetes 1.36. infscale is installed")
    assert "HPA llm/vllm: Deployment vllm, 1 to 8 replicas, 2 now" in text
    assert "  Pods waiting_requests, target AverageValue 4000m" in text
    assert f"    asks     {made.PATH}" in text
    assert "    answer   vllm-0 1; 1 s old" in text
    assert "Pool llm/chat: app=vllm on port 8000" in text
    assert "  2 pods, 2 ready; EPP epp:9002" in text
    assert text[-1] == "Nothing is wrong."


def test_findings_have_code_object_field_cause_and_command() -> None:
    text = shown(PLANTED["D104"]())
    at = text.index("D104 error: a target that the metric cannot exceed")
    assert text[at + 1] == "  HorizontalPodAutoscaler llm/vllm, spec.metrics[0].pods.target"
    assert "1 error, 0 warnings" in text
    assert text[-1].startswith("kubectl -n llm patch hpa vllm --type=json -p '[{")


def test_lines_fit_the_width_but_for_commands_and_urls() -> None:
    for plant in PLANTED.values():
        text = shown(plant())
        long = [each for each in text if len(each) > WIDTH]
        assert all(each.startswith(("kubectl", "sed", "    asks", "metadata", "- ", "roleRef")) for each in long), long


def test_conditions_that_say_more_than_that_all_is_well_are_repeated() -> None:
    good = SeenCondition("ScalingActive", "True", "ValidMetricFound", "fine")
    bad = SeenCondition("ScalingActive", "False", "FailedGetPodsMetric", "it broke")
    text = "\n".join(shown(made.view(made.autoscaler(conditions=(good,)))))
    assert "says" not in text
    assert "says     ScalingActive FailedGetPodsMetric: it broke" in "\n".join(
        shown(made.view(made.autoscaler(conditions=(bad,))))
    )


def test_what_a_cluster_says_cannot_reach_the_terminal() -> None:
    assert clean("a\x1b[2Jb\nc\u202e") == "a�[2Jb c�"
    assert len(clean("x" * 10_000)) <= 401
    wrong = made.view(unseen={"pods\x1b": "\x1b]0;x\x07"})
    assert not any(ord(each) < 32 for line in shown(wrong) for each in line)


def test_a_name_with_an_escape_is_harmless_in_commands() -> None:
    trigger = replace(made.scaled_object().triggers[0], metadata={"scalerAddress": "a'; rm -rf /\x1b"})
    text = shown(made.view(scaled_objects=(made.scaled_object(triggers=(trigger,)),)))
    assert not any("\x1b" in each for each in text)
    [command] = [each for each in text if each.startswith("kubectl")]
    assert "'\"'\"'; rm" in command, "the quote is quoted"


def example() -> list[str]:
    """What the page shows: a target in percent of a ratio, and pods that are killed too soon."""
    metric = replace(made.pods_metric("kv_cache_utilization_ratio", 80_000), target_text="80")
    scaler = made.autoscaler(metric)
    path = made.PATH.replace("waiting_requests", metric.name)
    view = made.view(
        scaler,
        workloads=(made.workload(grace_seconds=20.0), made.workload("batch")),
        answers={(scaler.key, 0): made.answer(620, 580, path=path)},
    )
    return [each.text for each in lines(diagnosed(view, ["vllm"]))]


def test_the_page_shows_what_is_printed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    assert "\n".join(["$ infscale doctor vllm", *example()]) in page
