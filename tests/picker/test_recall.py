"""Taking requests back: once, and only while they are under way."""

from picker.recall import Recall
from picker.request import Reason, Rejection

_EVICTED = Rejection("ResourceExhausted", "others need its room", Reason.EVICTED)


def test_it_is_taken_back_once() -> None:
    recall, heard = Recall(), list[Rejection]()
    recall.listen(heard.append)
    assert recall.revoke(_EVICTED, "another")
    recall.listen(heard.append)
    assert not recall.revoke(_EVICTED, "another")
    assert heard == [_EVICTED]
    assert recall.evicted_for == "another"


def test_not_where_it_has_ended_or_nothing_carries_it() -> None:
    recall, heard = Recall(), list[Rejection]()
    assert not recall.revoke(_EVICTED, "another")
    recall.listen(heard.append)
    recall.close()
    assert not recall.revoke(_EVICTED, "another")
    assert not heard
    assert recall.evicted_for is None


def test_a_cache_may_be_on_its_way_until_the_first_piece_of_the_answer() -> None:
    recall = Recall(fetches=True)
    assert recall.fetching
    recall.begun = True
    assert not recall.fetching
    assert not Recall().fetching
