"""Plugins from other packages: found, refused with a reason, and as the documentation shows them."""

import random
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infscale.endpoint import DiscoveryState, Pool
from infscale.errors import ConfigError
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.epp_config.extensions import ENTRY_POINTS, with_entry_points
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.epp_config.parameters import Given
from picker.epp_config.registry import BUILT_IN, Kind, Plugins
from picker.request import Decision, InferenceRequest, ParsedBody, Reason, Rejection
from picker.scheduling.pickers import RandomPicker
from picker.scheduling.plugin import RequestFacts, SchedulingContext
from picker.scheduling.profile import Selection, bounded
from picker.scheduling.scorers.load import QueueScorer
from picker.scheduling.stages import Admitter, Filter, Picker, ProfileHandler, Scorer, Screener
from tests.fakes.pools import NO_HEADERS, POOL, FakePool, context, endpoint, headers
from tests.fakes.samples import engine_sample

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
GUIDE = Path(__file__).parents[3] / "docs" / "plugins.md"


class Offered(EntryPoint):
    """An entry point of a package that is not installed."""

    def __init__(self, offers: Any, name: str = "acme") -> None:
        super().__init__(name, "acme_plugins:PLUGINS", ENTRY_POINTS)
        vars(self)["offers"] = offers

    def load(self) -> object:
        offers = vars(self)["offers"]
        if isinstance(offers, Exception):
            raise offers
        return offers


def loaded(body: str, offers: Any) -> PickerConfig:
    return load_picker_config(HEAD + body, "epp.yaml", with_entry_points(BUILT_IN, [Offered(offers)]))


def queue(given: Given) -> Scorer:
    given.nothing()
    return QueueScorer()


def the_guides_plugins() -> Plugins:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    module: dict[str, Any] = {"__name__": "acme_plugins"}
    exec(compile(code, "docs/plugins.md", "exec"), module)
    plugins = module["PLUGINS"]
    assert isinstance(plugins, Plugins)
    return plugins


def test_the_guides_plugin_runs_as_the_guide_says() -> None:
    plugins = the_guides_plugins()
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (profile,) = loaded(text, plugins).scheduler.profiles.values()
    pool = FakePool(2, labels=[{"topology.kubernetes.io/zone": "a"}, {}])
    decision = context(pool, facts=RequestFacts("m", headers(x_zone="a"), 0.0, 0.0))
    assert profile.scorers[0].scorer.score(decision, pool.rows).tolist() == [1.0, 0.2]
    assert bounded(profile.scorers[1].scorer.score(decision, pool.rows)).tolist() == [1.0, 1.0]
    with pytest.raises(ConfigError, match=r"epp.yaml:3: plugins\[0\].parameters.elsewhere: expected at most 1, got 2"):
        loaded("plugins: [{type: zone-scorer, parameters: {elsewhere: 2}}]\n", plugins)


def test_every_kind_can_be_offered_and_a_type_may_be_two() -> None:
    plugins = with_entry_points(
        BUILT_IN,
        [
            Offered(Plugins(filters={"both": BUILT_IN.filters["ready-filter"]})),
            Offered(Plugins(pickers={"any": lambda _: RandomPicker()})),
        ],
    )
    assert [plugins.kind(name) for name in ("both", "any", "queue-scorer", "x")] == [
        Kind.FILTER,
        Kind.PICKER,
        Kind.SCORER,
        None,
    ]
    assert plugins.joined(Plugins(scorers={"both": queue})).kind("both") is Kind.FILTER_AND_SCORER


def test_what_only_the_reference_has_may_be_supplied() -> None:
    config = loaded(
        "plugins: [{type: topology-affinity-scorer}]\n", Plugins(scorers={"topology-affinity-scorer": queue})
    )
    assert [each.type for each in config.plugins] == ["topology-affinity-scorer"]


def test_a_parameter_of_another_packages_plugin_is_its_own() -> None:
    def build(given: Given) -> Scorer:
        given.read("producer")
        return QueueScorer()

    config = loaded("plugins: [{type: mine, parameters: {producer: x}}]\n", Plugins(scorers={"mine": build}))
    assert config.notes == ()


def test_several_profiles_need_a_handler_that_runs_them() -> None:
    class First:
        def handle(self, context: Any, rows: Any, profiles: Any) -> Any:
            return next(iter(profiles.values())).run(context, rows)

    body = "plugins: [{type: first}, {type: queue-scorer}]\nschedulingProfiles: [{name: a}, {name: b}]\n"
    config = loaded(body, Plugins(handlers={"first": lambda _: First()}))
    pool = FakePool(1)
    assert config.scheduler.schedule(context(pool), pool.rows) is not None


@pytest.mark.parametrize("stage", [Admitter, Filter, Picker, ProfileHandler, Scorer, Screener])
def test_stages_of_other_packages_may_inherit_from_the_protocols(stage: type) -> None:
    mine = type("Mine", (stage,), {})
    assert stage in type(mine()).__mro__


def test_stages_may_answer_with_what_numpy_gives_them() -> None:
    class Backwards:
        def pick(self, context: Any, rows: Any, scores: Any) -> Any:
            return rows[::-1]

    class Open:
        def admits(self, context: Any, rows: Any) -> Any:
            return np.bool_(len(rows) > 0)

    offers = Plugins(pickers={"backwards": lambda _: Backwards()}, admitters={"open": lambda _: Open()})
    config = loaded("plugins: [{type: backwards}, {type: open}, {type: queue-scorer}]\n", offers)
    store = MetricStore("s")
    endpoints = tuple(map(endpoint, range(3)))
    store.sync(DiscoveryState(endpoints, (Pool(POOL, {}),)))
    for each in endpoints:
        store.record_scrape(each.key, engine_sample(0.0, 0.0, 0.0), 0.0)
    director = PoolDirector(POOL, config, store, random.Random(1))
    decision = director.direct(InferenceRequest("1", "/", headers(), ParsedBody("completions", "m", b"x", 1)), 1.0)
    assert isinstance(decision, Decision)
    assert decision.destinations[0] == endpoints[2].authority


@pytest.mark.parametrize(
    ("offers", "said"),
    [
        (Plugins(scorers={"queue-scorer": queue}), "there is already a plugin type 'queue-scorer'"),
        (Plugins(scorers={"openai-parser": queue}), "there is already a plugin type 'openai-parser'"),
        ({"scorers": {}}, r"expected a picker.epp_config.registry.Plugins, got dict"),
        (ModuleNotFoundError("No module named 'acme_plugins'"), "cannot be loaded: No module named 'acme_plugins'"),
    ],
    ids=["taken", "a fact", "something else", "not there"],
)
def test_what_cannot_be_used_is_refused_by_its_entry_point(offers: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^entry point acme = acme_plugins:PLUGINS: {said}"):
        loaded("", offers)


def test_two_packages_may_not_offer_one_type() -> None:
    offers = Plugins(scorers={"mine": queue})
    with pytest.raises(ConfigError, match="there is already a plugin type 'mine'"):
        with_entry_points(BUILT_IN, [Offered(offers), Offered(offers, name="other")])


class Half:
    """Leaves the first half of the candidates, rounded down; asks for a header with who they are."""

    stamps = (("x-half", "half"),)

    def screen(self, context: Any, rows: Any) -> Any:
        return rows[: len(rows) // 2]


def directed(config: PickerConfig, size: int) -> tuple[PoolDirector, Decision | Rejection]:
    """A director of `size` idle endpoints, and what it says of a request."""
    store = MetricStore("s")
    endpoints = tuple(endpoint(row, {"half": f"h{row}"}) for row in range(size))
    store.sync(DiscoveryState(endpoints, (Pool(POOL, {}),)))
    for each in endpoints:
        store.record_scrape(each.key, engine_sample(0.0, 0.0, 0.0), 0.0)
    director = PoolDirector(POOL, config, store, random.Random(1))
    request = InferenceRequest("1", "/", headers(), ParsedBody("completions", "m", b"x", 1))
    return director, director.direct(request, 1.0)


SCREENERS = Plugins(screeners={"half": lambda _: Half()}, admitters={"shut": lambda _: Shut()})


class Shut:
    """Admits nobody."""

    def admits(self, context: Any, rows: Any) -> bool:
        return False


@pytest.mark.parametrize(
    ("plugins", "size", "said"),
    [
        ("[{type: half}, {type: queue-scorer}]", 2, "10.0.0.1:8000"),
        ("[{type: half}, {name: again, type: half}]", 5, "10.0.0.1:8000"),
        ("[{type: half}]", 1, (503, "screeners eliminated all endpoint candidates", "rejected-no-endpoints")),
        ("[{type: half}, {name: again, type: half}]", 2, (503, "screeners eliminated", "rejected-no-endpoints")),
        ("[{type: half}, {type: shut}]", 1, (503, "screeners eliminated", "rejected-no-endpoints")),
        ("[{type: half}, {type: shut}]", 2, (429, "system saturated", "rejected-saturated")),
    ],
    ids=["half", "half of it", "none", "none of half", "before admitters", "and they are asked"],
)
def test_screeners_narrow_the_candidates(plugins: str, size: int, said: str | tuple[int, str, str]) -> None:
    _, answer = directed(loaded(f"plugins: {plugins}\n", SCREENERS), size)
    if isinstance(answer, Decision):
        assert answer.destinations[0] == said
    else:
        status, message, reason = said
        assert (answer.status, answer.dropped_reason) == (status, reason)
        assert answer.message.startswith(str(message))
        assert answer.retry_after_seconds == 1.0
        assert answer.reason is (Reason.SCREENED_OUT if status == 503 else Reason.SATURATED)


def test_a_screener_has_no_place_in_a_profile() -> None:
    body = "plugins: [{type: half}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: half}]}]\n"
    with pytest.raises(ConfigError, match=r"a screener has no place in a profile"):
        loaded(body, SCREENERS)


def test_a_screener_may_ask_for_a_header_with_a_label_of_who_answered() -> None:
    director, decision = directed(loaded("plugins: [{type: half}]\n", SCREENERS), 2)
    assert isinstance(decision, Decision)
    assert decision.response_headers == (("x-half", b"h0"),)
    moved = director.response_started(decision, 200, "10.0.0.2:8000", 1.1)
    assert moved.response_headers == (("x-half", b"h1"),)
    assert director.response_started(moved, 200, "10.0.0.9:8000", 1.2).response_headers == ()


@dataclass(frozen=True, slots=True)
class LongPrompts:
    """A decider of another package: prompts of so many tokens are computed elsewhere."""

    tokens: float

    def wants(self, context: SchedulingContext, row: int) -> bool:
        return context.request.prompt_tokens >= self.tokens


def test_a_decider_of_another_package_decides() -> None:
    own = Plugins(deciders={"long-prompts": lambda given: LongPrompts(given.read("tokens").number("tokens", 1.0))})
    text = (
        "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\n"
        "plugins:\n- {type: long-prompts, name: long, parameters: {tokens: 100}}\n"
        "- {type: disagg-profile-handler, parameters: {deciders: {prefill: long}}}\n"
        "schedulingProfiles: [{name: decode}, {name: prefill}]\n"
    )
    config = load_picker_config(text, "epp.yaml", BUILT_IN.joined(own))
    pool = FakePool(2)
    for tokens, count in ((99.0, 0), (100.0, 1)):
        facts = RequestFacts("m", NO_HEADERS, tokens, 1.0)
        answer = config.decide(context(pool, facts=facts), pool.rows)
        assert isinstance(answer, Selection)
        assert answer.remote is not None
        assert [each.stage for each in answer.remote.selections] == ["prefill"] * count
