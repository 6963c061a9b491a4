"""Requests for prefill and decode, as a coordinator sends them, while a deployment is rolled out."""

import random
from collections.abc import Sequence

import pytest

from infscale.client_headers import ignored
from infscale.endpoint import DiscoveryState, ObjectKey, Pool
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.directing.pool_directors import POOL_HEADER, PoolDirectors
from picker.epp_config.loader import load_picker_config
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.messages import HeadersReply, ImmediateReply, Incoming, RequestBody, ResponseHeaders, Send
from tests.fakes.pools import POOL
from tests.fakes.samples import engine_sample
from tests.picker.ext_proc.test_exchange import BODY, JSON_RESPONSE, headers, post
from tests.picker.scheduling.test_rollout import ROLE, endpoints, labelled, pods

CONFIG = f"""\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: disaggregatedset-rollout-screener
  parameters:
    scope: {{labelSelector: set=s}}
    revisionGating: {{mode: max-role, requiredRoles: [prefill, decode]}}
- type: header-profile-handler
- {{type: label-selector-filter, name: prefills, parameters: {{matchLabels: {{{ROLE}: prefill}}}}}}
- {{type: label-selector-filter, name: decodes, parameters: {{matchLabels: {{{ROLE}: decode}}}}}}
schedulingProfiles:
- {{name: prefill, plugins: [{{pluginRef: prefills}}]}}
- {{name: decode, plugins: [{{pluginRef: decodes}}]}}
"""


def cluster(labels: Sequence[dict[str, str]], pools: Sequence[Pool]) -> PoolDirectors:
    """Directors of `pools` over idle endpoints with these labels, as one process runs them."""
    config, store = load_picker_config(CONFIG, "epp.yaml"), MetricStore("s")
    state = DiscoveryState(endpoints(labels), tuple(pools))
    store.sync(state)
    for each in state.endpoints:
        store.record_scrape(each.key, engine_sample(0.0, 0.0, 0.0), 0.0)
    directors = PoolDirectors(lambda key: PoolDirector(key, config, store, random.Random(3)), None, store)
    directors.sync(state)
    return directors


def asked(directors: PoolDirectors, *given: tuple[str, str]) -> tuple[list[Send], Exchange]:
    exchange = Exchange(ExchangeSettings(ignored_headers=ignored([POOL_HEADER])), directors, random.Random(1))
    assert exchange.receive(Incoming(post(*given)), 0.1) == []
    return exchange.receive(Incoming(RequestBody(BODY, end_of_stream=True)), 0.1), exchange


def destination(sends: list[Send]) -> str:
    reply = sends[0]
    assert isinstance(reply, HeadersReply), reply
    return dict(reply.set_headers)["x-gateway-destination-endpoint"].decode()


def stamped(exchange: Exchange) -> str:
    (reply,) = exchange.receive(Incoming(ResponseHeaders(headers(*JSON_RESPONSE))), 0.2)
    assert isinstance(reply, HeadersReply)
    return dict(reply.set_headers)["x-llm-d-disagg-revision"].decode()


def phase(role: str, pools: Sequence[Pool]) -> tuple[tuple[str, str], ...]:
    """The headers of a request for `role`."""
    return (("epp-profile", role), (POOL_HEADER, role if len(pools) > 1 else POOL.name))


ONE_POOL = [Pool(POOL, {})]
POOL_OF_EACH = [Pool(ObjectKey(POOL.namespace, role), {ROLE: role}) for role in ("prefill", "decode")]


@pytest.mark.parametrize("pools", [ONE_POOL, POOL_OF_EACH], ids=["one pool", "a pool for each role"])
def test_decode_follows_the_revision_that_prefill_was_stamped_with(pools: list[Pool]) -> None:
    labels = pods(("a", 2, 2), ("b", 1, 2), ("c", 0, 3))
    directors = cluster(labels, pools)
    of_authority = {each.authority: each.labels for each in endpoints(labels)}
    seen: set[str] = set()
    for number in range(30):
        sends, exchange = asked(directors, *phase("prefill", pools), ("x-llm-d-revision-decision-id", str(number)))
        revision = stamped(exchange)
        assert of_authority[destination(sends)] == labelled(revision, "prefill")
        sends, exchange = asked(directors, *phase("decode", pools), ("x-llm-d-disagg-revision", revision))
        assert of_authority[destination(sends)] == labelled(revision, "decode")
        assert stamped(exchange) == revision
        seen.add(revision)
    assert seen == {"a", "b"}


@pytest.mark.parametrize("revision", ["c", "z"], ids=["incomplete", "unknown"])
def test_a_revision_that_cannot_serve_is_answered_503(revision: str) -> None:
    directors = cluster(pods(("a", 1, 1), ("c", 0, 3)), ONE_POOL)
    (reply,), _ = asked(directors, ("x-llm-d-disagg-revision", revision))
    assert isinstance(reply, ImmediateReply)
    assert reply.status == 503
    assert dict(reply.headers)["x-llm-d-request-dropped-reason"] == b"rejected-no-endpoints"
