"""The section `prometheus` is read strictly, its servers, rules and queries with it."""

from pathlib import Path

import pytest

from infscale.config.read import read_config
from infscale.documents.strict_document import load
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError
from infscale.metrics.published.catalogue import Aggregation
from infscale.prometheus.prometheus_settings import AdapterRulesSettings, PrometheusSettings
from infscale.prometheus.query_settings import MAX_INSTANCES, QueryLabels, QuerySettings, instances
from infscale.prometheus.server_settings import BasicAuth, ServerSettings

SERVERS = "servers: {main: {url: http://p:9090}}"


def read(text: str) -> PrometheusSettings:
    indented = "\n".join(f"  {line}" for line in text.splitlines())
    return read_config(load(f"discovery: {{file: d}}\nprometheus:\n{indented}\n", "f"), Path("/base")).prometheus


def test_servers_are_read() -> None:
    found = read(
        """\
servers:
  main:
    url: https://p:9090/prefix/
    timeout_seconds: 3
    workers: 2
    queries_per_second: 5
    max_bytes: 2048
    max_series: 7
    partial_answers: true
    ca: ca.crt
    certificate: tls.crt
    key: tls.key
    verify_tls: false
    basic_auth: {username: u, password_file: p}
    headers: {X-Scope-OrgID: team}
"""
    )
    base = Path("/base")
    assert found.servers["main"] == ServerSettings(
        "main",
        "https://p:9090/prefix",
        3.0,
        2,
        5.0,
        2048,
        7,
        True,
        base / "ca.crt",
        base / "tls.crt",
        base / "tls.key",
        False,
        None,
        BasicAuth("u", base / "p"),
        (("X-Scope-OrgID", "team"),),
    )


def test_rules_are_a_file_or_a_section() -> None:
    assert read(f"{SERVERS}\nadapter_rules: r.yaml").adapter_rules == AdapterRulesSettings(Path("/base/r.yaml"), "main")
    section = read(f"{SERVERS}\nadapter_rules: {{file: r.yaml, interval_seconds: 5, staleness_limit_seconds: 20}}")
    assert section.adapter_rules == AdapterRulesSettings(
        Path("/base/r.yaml"), "main", interval_seconds=5.0, staleness_limit_seconds=20.0
    )


def test_queries_are_read_and_may_be_used_in_formulas() -> None:
    text = f"""\
{SERVERS}
queries:
- name: orders_per_second
  unit: 1/second
  meaning: orders of the shop
  query: rate(orders_total{{ns="${{namespace}}"}}[1m])
  of: model
  labels: {{namespace: ns, model: m}}
  aggregation: highest
  interval_seconds: 5
  staleness_limit_seconds: 30
  timestamps: timestamp(orders_total)
"""
    (query,) = read(text).queries
    assert query == QuerySettings(
        "orders_per_second",
        'rate(orders_total{ns="${namespace}"}[1m])',
        "model",
        "1/second",
        "orders of the shop",
        QueryLabels("ns", "pod", "pool", "m"),
        Aggregation.HIGHEST,
        5.0,
        30.0,
        "timestamp(orders_total)",
        "main",
    )
    formula = "\n".join(f"  {line}" for line in text.splitlines())
    whole = f"discovery: {{file: d}}\nprometheus:\n{formula}\nmetrics: [{{name: x, formula: orders_per_second / 2}}]\n"
    assert read_config(load(whole, "f"), Path()).metrics[0].name == "x"


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("adapter_rules: x", "f:3: prometheus", "servers"),
        ("servers: {}", "f:3: prometheus.servers", "at least one server"),
        ("servers: {'a b': {url: http://p}}", "f:3: prometheus.servers", "a server's name"),
        ("servers: {a: {url: ftp://p}}", "f:3: prometheus.servers.a.url", "expected an address"),
        ("servers: {a: {url: 'http://u:p@h'}}", "f:3: prometheus.servers.a.url", "without user"),
        ("servers: {a: {url: http://p, ca: x}}", "f:3: prometheus.servers.a.ca", "https"),
        ("servers: {a: {url: https://p, key: x}}", "f:3: prometheus.servers.a.key", "go together"),
        (
            "servers: {a: {url: http://p, token_file: x, basic_auth: {username: u, password_file: y}}}",
            "f:3: prometheus.servers.a.token_file",
            "not both",
        ),
        (
            "servers: {a: {url: http://p, headers: {Authorization: x}}}",
            "f:3: prometheus.servers.a.headers",
            "no header",
        ),
        ("servers: {a: {url: http://p, headers: {X: 'é'}}}", "f:3: prometheus.servers.a.headers.X", "ASCII"),
        (
            "servers: {a: {url: http://p}, b: {url: http://p}}\nadapter_rules: r",
            "f:4: prometheus.adapter_rules",
            "several servers",
        ),
        (f"{SERVERS}\nadapter_rules: {{file: r, server: other}}", "f:4: prometheus.adapter_rules.server", "main"),
        (
            f"{SERVERS}\nadapter_rules: {{file: r, interval_seconds: 60}}",
            "f:4: prometheus.adapter_rules.interval_seconds",
            "at least 2 × interval_seconds",
        ),
        (f"{SERVERS}\nqueries: [{{name: x}}]", "f:4: prometheus.queries[0]", "query"),
        (f"{SERVERS}\nqueries: [{{name: X, query: y}}]", "f:4: prometheus.queries[0]", "lower-case"),
        (f"{SERVERS}\nqueries: [{{name: x, unit: bytes, query: y}}]", "f:4: prometheus.queries[0]", "says its unit"),
        (
            f"{SERVERS}\nqueries: [{{name: waiting_requests, query: y}}]",
            "f:4: prometheus.queries[0]",
            "choose another",
        ),
        (
            f"{SERVERS}\nqueries:\n- {{name: x, query: y}}\n- {{name: x, query: y}}",
            "f:6: prometheus.queries[1]",
            "choose another",
        ),
        (
            f"{SERVERS}\nqueries: [{{name: x, query: '${{pod}}'}}]",
            "f:4: prometheus.queries[0].query",
            "there is no ${pod}",
        ),
        (
            f"{SERVERS}\nqueries: [{{name: x, query: y, labels: {{pod: a-b}}}}]",
            "f:4: prometheus.queries[0].labels.pod",
            "name of a label",
        ),
        (f"{SERVERS}\nqueries: [{{name: x, query: y, of: node}}]", "f:4: prometheus.queries[0].of", "pool"),
    ],
)
def test_a_mistake_has_its_place(text: str, place: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert str(refused.value).startswith(place)
    assert problem in str(refused.value)


def test_what_is_filled_into_a_query_stays_in_its_string() -> None:
    settings = QuerySettings("x", 'q{m="${model}",n="${namespace}"}', "model")
    (instance,) = instances(settings, {ObjectKey("llm", "a"): ['x"} or {"\\']}).asked
    assert instance.query == 'q{m="x\\"} or {\\"\\\\",n="llm"}'


def test_a_query_that_names_the_namespace_alone_is_asked_once_for_it() -> None:
    settings = QuerySettings("x", 'q{n="${namespace}"}')
    pools = {ObjectKey("llm", "a"): (), ObjectKey("llm", "b"): (), ObjectKey("other", "a"): ()}
    assert [each.query for each in instances(settings, pools).asked] == ['q{n="llm"}', 'q{n="other"}']


@pytest.mark.parametrize(("models", "asked", "left_out"), [(MAX_INSTANCES, 500, 0), (MAX_INSTANCES + 3, 500, 3)])
def test_what_is_beyond_the_limit_is_counted(models: int, asked: int, left_out: int) -> None:
    settings = QuerySettings("x", 'q{m="${model}"}', "model")
    found = instances(settings, {ObjectKey("llm", "a"): [f"m{each}" for each in range(models)]})
    assert (len(found.asked), found.left_out) == (asked, left_out)
