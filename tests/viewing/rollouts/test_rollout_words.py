"""A rollout in words and in a table."""

import pytest

from infscale.endpoint import Version
from infscale.rollouts.rollout_document import rollout_document, rollouts_document
from infscale.rollouts.rollout_state import RolloutPhase, RolloutState
from infscale.rollouts.running_rollout import RunningRollout
from infscale.rollouts.sequential_test import RequestResult
from infscale.viewing.document_parts import DocumentError
from infscale.viewing.grid import STORE_VIEW
from infscale.viewing.rollouts.rollout_words import rollout_lines
from infscale.viewing.seen_documents import Documents, seen
from infscale.viewing.views import view_page
from tests.rollouts.made_rollouts import CANARY, canary


def running(phase: RolloutPhase = RolloutPhase.PROGRESSING, reason: str = "step 2 of 2") -> RunningRollout:
    made = RunningRollout(
        canary(model="llama", new=Version("v\x1b2")), 0.0, RolloutState(0.0, phase, 1, 4.0, 3, reason)
    )
    for number in range(30):
        made.test.add("new" if number % 5 == 0 else "old", RequestResult(number == 7))
    made.sent |= {"old": 24, "new": 6}
    made.fallbacks = 1
    return made


def test_it_is_told_in_lines() -> None:
    assert list(rollout_lines(rollout_document(running()))) == [
        "default/v2: Progressing, step 2 of 2",
        "  requests      for llama of pool default/pool",
        "  old to new    pods version=v1 to model v�2",
        "  weight        50% to the new version, step 2 of 2, 4.0 s of 10.0 s, 3 of 20 requests",
        "  sent          24 old, 6 new; 1 had the other version for want of endpoints",
        "  test          evidence 0.05 of 1; old 1 of 24 failed; new 0 of 6 failed; by metric: errors 1, "
        "time to first token 1, time per output token 1, duration 1",
    ]


def test_an_end_is_told_with_its_reason() -> None:
    lines = list(rollout_lines(rollout_document(running(RolloutPhase.ROLLED_BACK, "the new version is worse: errors"))))
    assert lines[0] == "default/v2: RolledBack, the new version is worse: errors"
    assert list(rollout_lines(rollout_document(RunningRollout(canary(test=None), 0.0))))[-1] == "  test          none"


@pytest.mark.parametrize("document", [None, [], {"rollout": 5}, {"sent": 5}])
def test_what_is_no_document_is_refused(document: object) -> None:
    with pytest.raises(DocumentError):
        list(rollout_lines(document))


def test_the_first_page_has_a_table_of_them() -> None:
    both = [running(RolloutPhase.ROLLED_BACK, "worse"), RunningRollout(CANARY, 0.0)]
    page = view_page(seen(Documents({"pools": []}, rollouts=rollouts_document(both))), STORE_VIEW)
    table = next(each for each in page.sections if each.title == "rollouts")
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        [
            "default/v2", "default/pool", "llama", "RolledBack, worse", "0%",
            "step 2 of 2, 4.0 s of 10.0 s, 3 of 20 requests", "24", "6", "0.05",
        ],
        ["default/v2", "default/pool", "all", "Waiting", "0%", "step 1 of 2, 0 ms of 1 min", "0", "0", "0.05"],
    ]  # fmt: skip
    alone = view_page(seen(Documents({"pools": []})), STORE_VIEW)
    assert "rollouts" not in [each.title for each in alone.sections]
