"""What a client writes into headers reaches nothing that is not its own, unless the gateway is said to set it."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from infscale.client_headers import CLIENT_HEADERS, TRUSTABLE, Use, ignored, stripped
from infscale.endpoint import (
    DiscoveryState,
    Endpoint,
    EndpointKey,
    Objective,
    ObjectKey,
    Pool,
    Rewrite,
    RewriteRule,
    RewriteTarget,
)
from infscale.envoy.config import Address, PickerRoute, Route, bootstrap
from infscale.metrics.sample import ModelLoad
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.directing.pool_directors import PoolDirectors
from picker.epp_config.loader import load_picker_config
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.headers import wants_upgrade
from picker.ext_proc.messages import HeadersReply, ImmediateReply, Incoming, RequestBody, RequestHeaders, Send
from picker.request import Headers
from tests.fakes.samples import engine_sample
from tests.test_documentation import ROOT, rows

OWN, OTHER = ObjectKey("tenant-a", "own"), ObjectKey("tenant-b", "other")
ADDRESSES = {OWN: "10.0.0.1:8000", OTHER: "10.0.0.2:8000"}
BODY = b'{"model": "llama", "prompt": "hello"}'
CONFIG = """
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: queue-scorer}
"""
DECLARED = {
    "epp-profile": CONFIG
    + """
- {type: header-profile-handler, parameters: {defaultProfile: default}}
schedulingProfiles:
- {name: default, plugins: [{pluginRef: queue-scorer}]}
- {name: other, plugins: [{pluginRef: queue-scorer}]}
""",
    "test-epp-endpoint-selection": CONFIG + "- {type: header-based-testing-filter}\n",
}
OBJECTIVES = (
    Objective(ObjectKey("tenant-a", "urgent"), 10, "own"),
    Objective(ObjectKey("tenant-a", "batch"), -2, "own"),
)
RULES = (RewriteRule(("llama",), (RewriteTarget("llama-v2"),)),)
REWRITES = (Rewrite(ObjectKey("tenant-a", "rewrite"), "own", RULES),)


def serving(trusted: tuple[str, ...] = (), *, waiting: float = 0.0, config: str = CONFIG, **settings: Any) -> Exchange:
    """An exchange before two tenants' pools, of which the first is the default; `waiting` requests on every server."""
    keys = (OWN, OTHER)
    endpoints = tuple(
        Endpoint(EndpointKey(key.namespace, f"{key.name}-0"), ADDRESSES[key].split(":")[0], 8000, {"pool": key.name})
        for key in keys
    )
    pools = tuple(Pool(key, {"pool": key.name}) for key in keys)
    state = DiscoveryState(endpoints, pools, OBJECTIVES, REWRITES)
    store, rng = MetricStore("s"), random.Random(1)
    store.sync(state)
    for endpoint in endpoints:
        models = {name: ModelLoad(waiting, 0.0) for name in ("llama", "llama-v2", "secret")}
        store.record_scrape(endpoint.key, engine_sample(waiting, 0.0, 0.0, models), 0.0)
    scheduling = load_picker_config(config, "epp.yaml")
    directing = DirectorSettings(trusted_headers=frozenset(trusted), **settings)
    directors = PoolDirectors(lambda key: PoolDirector(key, scheduling, store, rng, directing), OWN, store)
    directors.sync(state)
    return Exchange(ExchangeSettings(ignored_headers=ignored(trusted)), directors, rng)


def headers(*items: tuple[str, str], method: str = "POST", path: str = "/v1/completions") -> Headers:
    return Headers([(name, value.encode()) for name, value in ((":method", method), (":path", path), *items)])


def asked(exchange: Exchange, *items: tuple[str, str], body: bytes = BODY) -> list[Send]:
    assert exchange.receive(Incoming(RequestHeaders(headers(*items))), 0.1) == []
    return exchange.receive(Incoming(RequestBody(body, end_of_stream=True)), 0.1)


def upgraded(
    exchange: Exchange, *items: tuple[str, str], method: str = "GET", path: str = "/v1/realtime"
) -> list[Send]:
    offer = (("connection", "Upgrade"), ("upgrade", "websocket"))
    return exchange.receive(Incoming(RequestHeaders(headers(*offer, *items, method=method, path=path))), 0.1)


def destination(sends: list[Send]) -> str:
    reply = sends[0]
    assert isinstance(reply, HeadersReply), reply
    return dict(reply.set_headers)["x-gateway-destination-endpoint"].decode()


def status(sends: list[Send]) -> int:
    return sends[0].status if isinstance(sends[0], ImmediateReply) else 200


def sent_model(sends: list[Send]) -> str:
    return re.search(rb'"model": ?"([^"]*)"', b"".join(getattr(each, "body", b"") for each in sends))[1].decode()  # type: ignore[index]


@pytest.mark.parametrize("name", ["other", "tenant-b/other"])
def test_a_client_reaches_no_other_pool(name: str) -> None:
    wanted = ("x-llm-d-inference-pool", name)
    assert destination(asked(serving(), wanted)) == ADDRESSES[OWN]
    assert destination(asked(serving(("x-llm-d-inference-pool",)), wanted)) == ADDRESSES[OTHER]


@pytest.mark.parametrize("header", ["x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite"])
def test_a_client_does_not_say_which_model_serves_another(header: str) -> None:
    assert sent_model(asked(serving(), (header, "secret"))) == "llama-v2"
    assert sent_model(asked(serving((header,)), (header, "secret"))) == "secret"


@pytest.mark.parametrize("path", ["/v1/models", "/anything"])
def test_a_client_s_original_path_hides_no_body(path: str) -> None:
    claim, body = ("x-original-path", path), b'{"model": "nobody-serves-this", "prompt": "x"}'
    assert status(asked(serving(unknown_models="reject"), claim, body=body)) == 404
    assert status(asked(serving(("x-original-path",), unknown_models="reject"), claim, body=body)) == 200


@pytest.mark.parametrize("path", ["/v1/completion%73", "/v1%2Fcompletions", "/v1/completions/", "/v1/completions?a=/x"])
def test_no_spelling_of_a_path_hides_a_body(path: str) -> None:
    exchange = serving(unknown_models="reject")
    exchange.receive(Incoming(RequestHeaders(headers(path=path))), 0.1)
    body = RequestBody(b'{"model": "nobody-serves-this", "prompt": "x"}', end_of_stream=True)
    assert status(exchange.receive(Incoming(body), 0.1)) == 404


@pytest.mark.parametrize("header", ["x-llm-d-inference-objective", "x-gateway-inference-objective"])
@pytest.mark.parametrize(
    ("objective", "untrusted", "trusted"),
    [
        pytest.param("urgent", 200, 200, id="urgent"),
        pytest.param("batch", 429, 429, id="sheddable"),
        pytest.param("invented", 429, 429, id="unknown"),
    ],
)
def test_an_objective_of_the_client_is_shed_as_what_it_is(
    header: str, objective: str, untrusted: int, trusted: int
) -> None:
    assert status(asked(serving(waiting=100.0), (header, objective))) == untrusted
    assert status(asked(serving((header,), waiting=100.0), (header, objective))) == trusted
    assert status(asked(serving(waiting=0.0), (header, objective))) == 200


@pytest.mark.parametrize("objective", ["batch", "invented"])
def test_an_upgrade_is_shed_like_any_other_request(objective: str) -> None:
    named = ("x-llm-d-inference-objective", objective)
    assert status(upgraded(serving(waiting=100.0), named)) == 429
    assert destination(upgraded(serving(waiting=0.0), named)) == ADDRESSES[OWN]
    assert status(upgraded(serving(waiting=100.0))) == 200


def test_an_upgrade_for_a_model_that_nobody_serves_is_refused() -> None:
    path = "/v1/realtime?model=nobody-serves-this"
    assert status(upgraded(serving(unknown_models="reject"), path=path)) == 404
    assert status(upgraded(serving(unknown_models="reject"), path="/v1/realtime?model=llama")) == 200


@pytest.mark.parametrize("query", ["model=" + "a" * 100_000, "&".join(["x=1"] * 10_000), "model=%ff%00", "&&&==", ""])
def test_any_query_of_an_upgrade_is_read_as_far_as_it_can_be(query: str) -> None:
    assert status(upgraded(serving(), path=f"/v1/realtime?{query}")) == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_an_upgrade_hides_no_body(method: str) -> None:
    """A server that does not know the protocol reads such a request as an ordinary one."""
    assert status(upgraded(serving(), method=method, path="/v1/completions")) == 400


@pytest.mark.parametrize(
    "header",
    [
        "x-gateway-destination-endpoint",
        "x-gateway-destination-endpoint-subset",
        "x-gateway-destination-endpoint-served",
        "x-llm-d-inference-fairness-id",
        "x-gateway-inference-fairness-id",
        "x-llm-d-slo-ttft-ms",
        "x-slo-ttft-ms",
        "x-llm-d-slo-tpot-ms",
        "x-slo-tpot-ms",
        "epp-profile",
        "x-llm-d-disagg-revision",
        "x-llm-d-revision-decision-id",
        "test-epp-endpoint-selection",
        "x-prefiller-host-port",
        "x-encoder-hosts-ports",
    ],
)
def test_what_nothing_asks_for_changes_nothing(header: str) -> None:
    plain = asked(serving())
    for value in ("10.0.0.2:8000", "0.001", "nan", "other", "\x00"):
        assert asked(serving(), (header, value)) == plain


@pytest.mark.parametrize(("header", "config"), DECLARED.items(), ids=str)
def test_a_declared_plugin_reads_its_header(header: str, config: str) -> None:
    assert destination(asked(serving(config=config))) == ADDRESSES[OWN]
    assert status(asked(serving(config=config), (header, "10.0.0.9"))) == 429


# The table, and the documents that go by it


def test_every_header_that_the_picker_reads_is_in_the_table() -> None:
    """Whatever looks like the name of a header in the sources is a request's, and known, or a response's."""
    of_responses = {"x-went-into-resp-headers", "x-conformance-test-served-endpoint", "x-llm-d-request-dropped-reason"}
    of_responses.add("x-infscale-pick")
    told_to_gateways = {"x-gateway-destination-endpoint-scores"}
    encodings = {"x-gzip"}
    # Kept of no request, whatever reads it.
    credentials = {"x-api-key"}
    found: set[str] = set()
    for source in (ROOT / "picker").rglob("*.py"):
        found.update(re.findall(r'"((?:x-|test-epp-)[a-z-]+|EPP-Profile)"', source.read_text()))
    known = {header.name for header in CLIENT_HEADERS}
    assert {name.lower() for name in found} - of_responses - told_to_gateways - encodings - credentials <= known


def test_the_table_of_the_documentation_is_that_of_the_code() -> None:
    documented = [
        (name.strip("`"), use) for name, use, _ in rows("picker/README.md", "## Headers that clients can send")
    ]
    assert documented == [(header.name, header.use.value) for header in CLIENT_HEADERS]


ENVOY = Address("127.0.0.1", 10000)
PICKER = Address("127.0.0.1", 9002)


@pytest.mark.parametrize(
    "route", [PickerRoute(ENVOY, PICKER, (PICKER,)), PickerRoute(ENVOY, PICKER, None)], ids=["known", "unknown"]
)
def test_envoy_removes_them_all(route: Route) -> None:
    document: Any = bootstrap(ENVOY, [route])
    manager = document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    (extension,) = manager["early_header_mutation_extensions"]
    assert [each["remove"] for each in extension["typed_config"]["mutations"]] == list(stripped())


def test_envoy_leaves_what_something_before_it_sets() -> None:
    assert set(stripped()) - set(stripped(["x-llm-d-inference-pool"])) == {"x-llm-d-inference-pool"}


@pytest.mark.parametrize("example", ["envoy-gateway.yaml"])
def test_the_example_of_envoy_gateway_removes_them_all(example: str) -> None:
    text = (ROOT / "manifests" / "examples" / example).read_text()
    policies = [each for each in yaml.safe_load_all(text) if each["kind"] == "ClientTrafficPolicy"]
    assert [each["spec"]["headers"]["earlyRequestHeaders"]["remove"] for each in policies] == [list(stripped())]


def test_nothing_but_what_describes_the_request_passes() -> None:
    described = {header.name for header in CLIENT_HEADERS if header.use is Use.ALWAYS}
    assert {header.name for header in CLIENT_HEADERS} - set(stripped()) == described
    assert set(TRUSTABLE) <= set(stripped())


def test_no_document_hands_out_trust() -> None:
    """What operators copy trusts no header."""
    for path in [*(ROOT / "manifests").rglob("*.yaml")]:
        assert not re.search(r"^\s*trusted_headers", Path(path).read_text(), re.MULTILINE), path


@pytest.mark.parametrize("mine", [0, 1], ids=["before", "behind"])
def test_what_a_client_sends_beside_what_the_gateway_appends_takes_its_place_nowhere(mine: int) -> None:
    def both(header: str, own: str, other: str) -> list[Send]:
        values = [other, own] if mine == 0 else [own, other]
        body = b'{"model": "nobody-serves-this", "prompt": "x"}' if header == "x-original-path" else BODY
        exchange = serving((header,), unknown_models="reject")
        return asked(exchange, *((header, value) for value in values), body=body)

    assert status(both("x-llm-d-inference-pool", "own", "other")) == 404
    assert status(both("x-llm-d-model-name-rewrite", "llama", "secret")) == 404
    assert status(both("x-original-path", "/v1/completions", "/anything")) == 404


def test_a_repeated_header_is_one_list() -> None:
    both = Headers([("connection", b"keep-alive"), ("upgrade", b"websocket"), ("connection", b"upgrade")])
    assert both.get("connection") == "keep-alive,upgrade"
    assert (both.get("upgrade"), both.single("upgrade"), both.single("connection")) == ("websocket", "websocket", None)
    assert wants_upgrade(both)
