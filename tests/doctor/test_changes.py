"""What `--watch` prints: what changed, and nothing else."""

from infscale.doctor.changes import changes
from infscale.doctor.diagnosis import diagnosed
from infscale.doctor.view.cluster_view import ClusterView
from tests.doctor import healthy as made
from tests.doctor.rules.test_rule_table import PLANTED, with_answers


def told(before: ClusterView, after: ClusterView) -> list[str]:
    return [each.text for each in changes(diagnosed(before), diagnosed(after))]


def test_nothing_is_said_where_nothing_changed() -> None:
    assert told(made.view(), made.view()) == []
    assert told(PLANTED["D112"](), PLANTED["D112"]()) == []


def test_a_finding_that_came_is_said_in_full_and_one_that_went_in_a_line() -> None:
    came = told(made.view(), PLANTED["D401"]())
    assert came[0] == "D401 warning: pods are killed before they have ended"
    assert came[-1].startswith("kubectl -n llm patch deployment vllm")
    went = told(PLANTED["D401"](), made.view())
    assert went == ["mended: D401 Deployment llm/vllm, spec.template.spec.terminationGracePeriodSeconds"]


def test_other_words_of_the_same_finding_are_no_news() -> None:
    older = with_answers(made.view(), made.answer(4000, at=made.NOW - 300))
    oldest = with_answers(made.view(), made.answer(4000, at=made.NOW - 400))
    assert told(older, oldest) == []


def test_another_number_of_replicas_is_said_with_its_reason() -> None:
    [line] = told(made.view(), with_answers(made.view(), made.answer(9000, 7000)))
    assert line.startswith("HPA llm/vllm: 2 → 4 (DesiredWithinRange): waiting_requests 8 per pod / target 4")


def test_hpas_that_come_and_go_are_said() -> None:
    more = made.view(made.autoscaler(), made.autoscaler(name="other", target=made.KEDA_HPA.target))
    assert any(each == "new: HPA llm/other" for each in told(made.view(), more))
    assert "gone: HPA llm/other" in told(more, made.view())
