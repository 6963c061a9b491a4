"""Published orderings: that each can be played, and what is said of it."""

from dataclasses import replace

import pytest

from bench.orderings import ORDERINGS, Finding, Ordering, Setting, found, markdown, policy
from infscale.simulate.findings.estimates import Change
from infscale.simulate.findings.measures import MEASURES

SHORTER = Change(0.5, 0.4, 0.6, 5)
LONGER = Change(2.0, 1.5, 2.5, 5)
UNCERTAIN = Change(0.9, 0.7, 1.2, 5)


def ids(ordering: Ordering) -> str:
    return f"{ordering.published}, {ordering.measure}"


@pytest.mark.parametrize("ordering", ORDERINGS, ids=ids)
def test_each_claim_has_policies_settings_and_a_measure_that_exist(ordering: Ordering) -> None:
    for words in (ordering.better, ordering.worse):
        chosen = policy(words)
        assert not chosen.picks or chosen.scheduling() is not None
    for setting in (ordering.at, ordering.than_at or ordering.at):
        assert setting.scenario(0.01).servers
    assert any(each.key == ordering.measure and each.more_is_better is not None for each in MEASURES)
    assert (ordering.better, ordering.at) != (ordering.worse, ordering.than_at or ordering.at)


@pytest.mark.parametrize(
    ("measure", "change", "verdict"),
    [
        ("ttft_p90_seconds", SHORTER, "same"),
        ("ttft_p90_seconds", LONGER, "the other way round"),
        ("ttft_p90_seconds", UNCERTAIN, "no certain difference"),
        ("ttft_p90_seconds", None, "no certain difference"),
        ("throughput_rps", LONGER, "same"),
        ("throughput_rps", SHORTER, "the other way round"),
    ],
)
def test_an_ordering_is_the_published_one_where_chance_lets_it_be_told(
    measure: str, change: Change | None, verdict: str
) -> None:
    assert Finding(replace(ORDERINGS[0], measure=measure), "1 s", "2 s", change).verdict == verdict


AT = Setting(("chats",), "8", start=30.0)


@pytest.mark.parametrize(
    "other",
    [
        replace(AT, start=300.0),
        replace(AT, sync=60.0),
        replace(AT, batch=-1),
        replace(AT, workloads=("chats", "bursts")),
    ],
    ids=["start", "sync", "batch", "workloads"],
)
def test_where_one_policy_serves_both_sides_the_table_says_how_they_differ(other: Setting) -> None:
    row = markdown([Finding(Ordering("p", "f", AT, "infscale", "infscale", than_at=other), "1 s", "2 s", SHORTER)])
    ours = row.splitlines()[-1].split("|")[4]
    one, two = (each.strip() for each in ours.split(","))
    assert one.removesuffix(" 1 s") != two.removesuffix(" 2 s")


def test_both_sides_are_played_on_the_same_seeds_each_once() -> None:
    """Random spreads one prompt over three servers; where it is cached, it is computed once."""
    setting = Setting(("kthena:rate=40,requests=120,groups=8",), "3")
    hits = Ordering("p", "f", setting, "reference@50ms", "random", "prefix_hit_ratio")
    more, fewer = found([hits, replace(hits, better="random", worse="reference@50ms")], 1.0, 3, 1)
    assert (more.verdict, fewer.verdict) == ("same", "the other way round")
    assert (more.better, more.worse) == (fewer.worse, fewer.better)
    assert more.change is not None
    assert more.change.seeds == 3


def test_a_run_of_one_class_is_compared_with_that_class_among_others() -> None:
    alone = Setting(("conversation:rate=24,requests=40,class=interactive",), "2")
    beside = replace(alone, workloads=(*alone.workloads, "no-prefix:rate=60,question=3000,requests=80,class=batch"))
    ordering = Ordering("p", "f", alone, "infscale", "infscale", "ttft_p50_seconds", beside, "interactive")
    (finding,) = found([ordering], 1.0, 2, 1)
    assert finding.change is not None
    assert finding.change.ratio < 1
