"""The director in a rollout: which endpoints and model a request gets, what is counted, and that it never fails."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from infscale.endpoint import DiscoveryState, Endpoint, ObjectKey, Phase, Pool, Rollout, RolloutStep, Version
from infscale.metrics.store.metrics_store import MetricStore
from infscale.rollouts.rollout_book import RolloutBook
from infscale.rollouts.rollout_state import RolloutPhase, RolloutState
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.directing.pool_directors import PoolDirectors
from picker.epp_config.loader import load_picker_config, preset
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody
from picker.sessions.session_tokens import TokenKeys
from tests.fakes.counts import counts_of
from tests.fakes.pools import POOL, endpoint, headers
from tests.fakes.samples import engine_sample
from tests.rollouts.made_rollouts import CANARY, canary

FINISHED = counts_of(counters={("requests_finished", "m"): 1.0})
GREEN = ObjectKey("default", "green")
HALF = (RolloutStep(0.5, seconds=1e6),)
SIGNED = """\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
- type: session-affinity-filter
  parameters: {strategy: signed_token, signedTokenConfig: {keys: keys, header: x-infscale-session}}
- {type: marginal-cost-scorer}
"""
FINE = Outcome("completed", 200, first_byte_seconds=0.1, duration_seconds=1.0)


class Bench:
    """Two endpoints of version v1 and two of v2, idle, with a rollout that is under way; pods of v2 in `green`."""

    def __init__(self, rollout: Rollout, config: str | None = None, v2: Phase = Phase.READY) -> None:
        self.store, self.book = MetricStore("s"), RolloutBook()
        versions = ("v1", "v1", "v2", "v2")
        self.endpoints = tuple(
            replace(endpoint(row, phase=v2 if each == "v2" else Phase.READY), labels={"version": each})
            for row, each in enumerate(versions)
        )
        pools = [Pool(POOL, {"version": "v1"} if rollout.new.pool else {})]
        pools += [Pool(GREEN, {"version": "v2"})] if rollout.new.pool else []
        self.state = DiscoveryState(self.endpoints, tuple(pools), rollouts=(rollout,))
        picked = load_picker_config(config, "epp.yaml") if config else preset("infscale")
        picked = replace(picked, session_keys={"keys": TokenKeys([b"0" * 32])})
        settings = DirectorSettings(rollouts=self.book, wall=lambda: 1.8e9)
        self.directors = PoolDirectors(
            lambda pool: PoolDirector(pool, picked, self.store, random.Random(1), settings), POOL, self.store
        )
        self.sync(self.endpoints)
        for each in self.endpoints:
            self.store.record_scrape(
                each.key, engine_sample(0.0, 0.0, 0.0, {}, None, counts=FINISHED, fingerprint=1), 0
            )
        (self.running,) = self.book
        self.at(RolloutPhase.PROGRESSING)

    def sync(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.state = replace(self.state, endpoints=endpoints)
        self.store.sync(self.state)
        self.book.sync(self.state, 0.0)
        self.directors.sync(self.state)

    def at(self, phase: RolloutPhase) -> None:
        self.running.state = RolloutState(0.0, phase)

    def ask(
        self, number: int, given: Headers | None = None, model: str = "m", now: float = 0.1
    ) -> tuple[str, Decision]:
        """The version that a request gets."""
        body = ParsedBody("completions", model, b"hello", 1, 10)
        request = InferenceRequest(f"id {number}", "/v1/completions", given or Headers([]), body)
        decision = self.directors.direct(request, now)
        assert isinstance(decision, Decision), decision
        self.directors.finished(request, decision, FINE, now + 0.1)
        found = next(each for each in self.endpoints if each.authority == decision.destinations[0])
        return found.labels["version"], decision

    def versions(self, count: int = 200) -> Counter[str]:
        return Counter(self.ask(number)[0] for number in range(count))


@pytest.mark.parametrize(
    ("phase", "fewest", "most"),
    [
        (RolloutPhase.WAITING, 0, 0),
        (RolloutPhase.PROGRESSING, 70, 130),
        (RolloutPhase.COMPLETED, 200, 200),
        (RolloutPhase.ROLLED_BACK, 0, 0),
    ],
)
@pytest.mark.parametrize("new", [CANARY.new, Version(pool="green")], ids=["labels", "pool"])
def test_the_weight_says_how_many_requests_the_new_version_gets(
    phase: RolloutPhase, fewest: int, most: int, new: Version
) -> None:
    old = Version() if new.pool else CANARY.old
    bench = Bench(canary(steps=HALF, new=new, old=old))
    bench.at(phase)
    assert fewest <= bench.versions()["v2"] <= most
    assert bench.running.sent["old"] + bench.running.sent["new"] == 200


def test_a_version_may_be_another_model_or_adapter() -> None:
    bench = Bench(canary(steps=HALF, old=Version("a-1"), new=Version("a-2"), model="a"))
    models = Counter(bench.ask(number, model="a")[1].target_model for number in range(200))
    assert set(models) == {"a-1", "a-2"}
    assert 70 <= models["a-2"] <= 130
    assert bench.ask(1, model="b")[1].target_model == "b"
    assert bench.ask(1, model="b")[1].share is None


def test_the_gateways_own_rewrite_wins() -> None:
    bench = Bench(canary(steps=HALF, old=Version("a-1"), new=Version("a-2")))
    _, decision = bench.ask(1, headers(x_llm_d_model_name_rewrite="other"))
    assert (decision.target_model, decision.share) == ("other", None)


@pytest.mark.parametrize("new", [CANARY.new, Version(pool="green")], ids=["labels", "pool"])
def test_a_session_by_a_header_keeps_its_version(new: Version) -> None:
    bench = Bench(canary(steps=HALF, new=new, old=Version() if new.pool else CANARY.old))
    for name in range(20):
        given = headers(x_session_id=f"chat {name}")
        assert len({bench.ask(number, given)[0] for number in range(5)}) == 1


def test_a_session_by_a_token_keeps_its_version_from_its_first_request_on() -> None:
    bench = Bench(canary(steps=HALF), SIGNED)
    firsts: list[str] = []
    for number in range(40):
        version, decision = bench.ask(number)
        firsts.append(version)
        for again in range(3):
            token = dict(decision.response_headers)["x-infscale-session"]
            version, decision = bench.ask(1000 * again + number, Headers([("x-infscale-session", token)]))
            assert version == firsts[-1]
    assert {*firsts} == {"v1", "v2"}


@pytest.mark.parametrize("new", [CANARY.new, Version(pool="green")], ids=["labels", "pool"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_candidate_without_endpoints_costs_no_request(new: Version, gone: bool) -> None:
    bench = Bench(canary(steps=HALF, new=new, old=Version() if new.pool else CANARY.old))
    left = bench.endpoints[:2]
    bench.sync(left if gone else (*left, *(replace(each, phase=Phase.DRAINING) for each in bench.endpoints[2:])))
    assert bench.versions() == {"v1": 200}
    if not new.pool:
        assert 70 <= bench.running.fallbacks <= 130


def test_a_version_whose_load_is_not_known_for_a_moment_keeps_its_sessions() -> None:
    """Scrapes of one version fail: its values grow stale while those of the other are fresh."""
    bench = Bench(canary(steps=HALF))
    given = [headers(x_session_id=f"chat {name}") for name in range(20)]
    before = [bench.ask(0, each)[0] for each in given]
    for fresh in bench.endpoints[:2]:
        bench.store.record_scrape(
            fresh.key, engine_sample(0.0, 0.0, 0.0, {}, None, counts=FINISHED, fingerprint=2), 100.0
        )
    assert [bench.ask(0, each, now=100.1)[0] for each in given] == before
    assert {*before} == {"v1", "v2"}
    assert bench.running.fallbacks == 0


def test_an_old_version_that_is_gone_too_early_costs_no_request() -> None:
    bench = Bench(canary(steps=HALF))
    bench.sync(bench.endpoints[2:])
    assert bench.versions() == {"v2": 200}


def test_results_reach_the_test_by_version() -> None:
    bench = Bench(canary(steps=HALF))
    found = bench.versions()
    assert bench.running.test.requests == {"old": found["v1"], "new": found["v2"]}


@pytest.mark.parametrize(
    ("outcome", "counted", "failed"),
    [
        (Outcome("completed", 200), 1, 0),
        (Outcome("completed", 400), 1, 0),
        (Outcome("completed", 503), 1, 1),
        (Outcome("error", 500), 1, 1),
        (Outcome("aborted", 200), 0, 0),
        (Outcome("evicted", None), 0, 0),
    ],
)
def test_what_an_outcome_says_of_its_version(outcome: Outcome, counted: int, failed: int) -> None:
    bench = Bench(canary(steps=HALF))
    body = ParsedBody("completions", "m", b"hello", 1, 10)
    request = InferenceRequest("id", "/v1/completions", Headers([]), body)
    decision = bench.directors.direct(request, 0.1)
    assert isinstance(decision, Decision)
    bench.directors.finished(request, decision, outcome, 0.2)
    assert sum(bench.running.test.requests.values()) == counted
    assert sum(bench.running.test.failures.values()) == failed
