from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.discovery.state import DEFAULT_POOL, read_state
from infscale.documents.strict_document import Plain, from_plain, load
from infscale.endpoint import DRAINING_LABEL, DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool
from infscale.errors import ConfigError

POOL = """\
- apiVersion: inference.networking.k8s.io/v1
  kind: InferencePool
  metadata: {name: chat, namespace: prod}
  spec: {selector: {matchLabels: {app: x}}, targetPorts: [{number: 8000}]}
"""


def read(text: str, default_pool: ObjectKey = DEFAULT_POOL) -> DiscoveryState:
    return read_state(load(dedent(text), "f"), default_pool)


def cluster(entry: str) -> Endpoint:
    """The endpoint of a document that has one cluster."""
    (endpoint,) = read_state(load(f"endpoints:\n- {{name: a, {entry}}}\n", "f"), clusters=True).endpoints
    return endpoint


def test_entries_are_endpoints() -> None:
    state = read("""
        endpoints:
        - {name: a, address: 10.0.0.1, port: "8000"}
        - {name: b, namespace: default, address: "FD00:0::1", port: 8000, labels: {app: x},
           phase: draining, metricsPort: 9}
        - {name: c.d, address: 10.0.0.1, port: 8001, phase: starting, metricsPort: "10"}
        """)
    assert state.endpoints == (
        Endpoint(EndpointKey("default", "a"), "10.0.0.1", 8000),
        Endpoint(EndpointKey("default", "b"), "fd00::1", 8000, {"app": "x"}, Phase.DRAINING, 9),
        Endpoint(EndpointKey("default", "c.d"), "10.0.0.1", 8001, {}, Phase.STARTING, 10),
    )


def test_entries_of_one_name_are_ranks_in_order() -> None:
    state = read("""
        endpoints:
        - {name: a, address: 10.0.0.1, port: 8002}
        - {name: b, address: 10.0.0.2, port: 8000}
        - {name: a, address: 10.0.0.1, port: 8000}
        """)
    assert [(str(endpoint.key), endpoint.port) for endpoint in state.endpoints] == [
        ("default/a", 8002),
        ("default/b", 8000),
        ("default/a-rank-1", 8000),
    ]


@pytest.mark.parametrize("text", ["{}", "endpoints: []", "objects: []", "endpoints:", '{"endpoints": []}'])
def test_without_endpoints_the_default_pool_is_empty(text: str) -> None:
    state = read(text, ObjectKey("prod", "chat"))
    assert state == DiscoveryState(pools=(Pool(ObjectKey("prod", "chat"), {}),))


def test_without_an_inference_pool_the_default_pool_has_every_endpoint() -> None:
    state = read("endpoints: [{name: a, address: 10.0.0.1, port: 1}, {name: b, address: 10.0.0.2, port: 1}]")
    (pool,) = state.pools
    assert str(pool.key) == "default/default"
    assert state.members(pool) == state.endpoints


def test_an_inference_pool_has_what_it_selects_and_there_is_no_default_pool() -> None:
    state = read(
        """
        endpoints:
        - {name: a, namespace: prod, address: 10.0.0.1, port: 1, labels: {app: x, tier: y}}
        - {name: b, namespace: prod, address: 10.0.0.2, port: 1, labels: {app: y}}
        - {name: c, address: 10.0.0.3, port: 1, labels: {app: x}}
        objects:
        """
        + POOL.replace("\n", "\n        ")
    )
    (pool,) = state.pools
    assert [endpoint.key.name for endpoint in state.members(pool)] == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "f:1: expected a mapping, got a list"),
        ("endpoint: []", "f:1: endpoint: unknown key; expected one of endpoints, objects"),
        ("endpoints: {}", "f:1: endpoints: expected a list, got a mapping"),
        ("endpoints:\n- {name: a, port: 1}", "f:2: endpoints[0]: key 'address' is missing"),
        (
            "endpoints:\n- {name: a, adress: 1}",
            "f:2: endpoints[0].adress: unknown key; expected one of address, labels, metricsPort, name, ",
        ),
        (
            "endpoints:\n- {name: A, address: 10.0.0.1, port: 1}",
            "f:2: endpoints[0].name: expected at most 253 of a–z, 0–9, '-' and '.', such as vllm-0, got 'A'",
        ),
        *(
            (
                f"endpoints:\n- {{name: a, address: '{address}', port: 1}}",
                "f:2: endpoints[0].address: expected the IPv4 or IPv6 address of a server, such as 10.0.0.1 or "
                f"fd00::1, got '{address}'",
            )
            for address in ("localhost", "10.0.0", "[::1]", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1", "010.0.0.1")
        ),
        *(
            (
                f"endpoints:\n- {{name: a, address: 10.0.0.1, port: '{port}'}}",
                f"f:2: endpoints[0].port: expected a port from 1 to 65535, got '{port}'",
            )
            for port in ("0", "65536", "080", "http", "8000 ", "-1", "٣", "999999999")
        ),
        (
            "endpoints:\n- {name: a, address: 10.0.0.1, port: 0}",
            "f:2: endpoints[0].port: expected at least 1, got 0",
        ),
        (
            "endpoints:\n- {name: a, address: 10.0.0.1, port: true}",
            "f:2: endpoints[0].port: expected a whole number, got a boolean",
        ),
        (
            "endpoints:\n- {name: a, address: 10.0.0.1, port: 1, phase: gone}",
            "f:2: endpoints[0].phase: expected one of starting, ready, draining, got 'gone'",
        ),
        (
            "endpoints:\n- {name: a, address: 10.0.0.1, port: 1, labels: {version: 1.5}}",
            "f:2: endpoints[0].labels.version: expected a string, got a number; put it in quotes",
        ),
        (
            "endpoints:\n- {name: a, address: 10.0.0.1, port: 1}\n- {name: a, address: 10.0.0.1, port: 1}",
            "f:3: endpoints[1]: endpoint default/a is given twice, first at f:2; "
            "entries of one name are ranks of one pod: same address and labels, another port",
        ),
        (
            "endpoints:\n- {name: a, address: 10.0.0.1, port: 1}\n- {name: a, address: 10.0.0.2, port: 2}",
            "f:3: endpoints[1]: endpoint default/a is given twice, first at f:2; ",
        ),
        (
            "endpoints:\n- {name: a, address: 10.0.0.1, port: 1}\n"
            "- {name: a, address: 10.0.0.1, port: 2, labels: {b: c}}",
            "f:3: endpoints[1]: endpoint default/a is given twice, first at f:2; ",
        ),
        (
            "endpoints:\n- {name: a, address: 'fd00::1', port: 1}\n- {name: b, address: 'fd00:0::1', port: 1}",
            "f:3: endpoints[1]: [fd00::1]:1 is given twice, first at f:2",
        ),
        (
            "endpoints:\n- {name: a, namespace: prod, address: 10.0.0.1, port: 1}",
            "f:2: endpoints[0]: namespace prod is not that of the default pool default/default; "
            "add an InferencePool to objects or set discovery.default_pool",
        ),
        (f"objects:\n{POOL}{POOL}", "f:6: objects[1]: InferencePool prod/chat is given twice, first at f:2"),
        (
            f"objects:\n{POOL}- apiVersion: llm-d.ai/v1alpha2\n  kind: InferenceObjective\n"
            "  metadata: {name: x, namespace: prod}\n  spec: {poolRef: {name: chta}}",
            "f:6: objects[1]: pool 'prod/chta' does not exist; there is prod/chat",
        ),
    ],
)
def test_a_document_that_makes_no_sense_is_refused_with_place_and_path(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith(message)


def test_objects_of_different_kinds_may_share_a_name() -> None:
    state = read(
        f"objects:\n{POOL}- apiVersion: llm-d.ai/v1alpha2\n  kind: InferenceObjective\n"
        "  metadata: {name: chat, namespace: prod}\n  spec: {poolRef: {name: chat}}"
    )
    assert (len(state.pools), len(state.objectives)) == (1, 1)


def test_the_example_is_a_state() -> None:
    path = Path(__file__).parents[2] / "manifests" / "examples" / "discovery.yaml"
    state = read_state(load(path.read_text(), path.name))
    (pool,) = state.pools
    assert len(state.members(pool)) == len(state.endpoints) == 5
    assert {endpoint.phase for endpoint in state.endpoints} == {Phase.READY, Phase.DRAINING}
    assert (len(state.objectives), len(state.rewrites), len(state.objects)) == (1, 1, 1)


entries = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "c"]),
            "address": st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]),
            "port": st.integers(1, 3) | st.sampled_from(["1", "2", "3"]),
        }
    ),
    max_size=6,
)


@given(entries)
def test_endpoints_of_an_accepted_document_are_distinct(chosen: list[dict[str, int | str]]) -> None:
    try:
        state = read_state(from_plain({"endpoints": [{**entry} for entry in chosen]}, "f"))
    except ConfigError:
        return
    assert len(state.endpoints) == len(chosen)
    assert len({endpoint.key for endpoint in state.endpoints}) == len(chosen)
    assert len({endpoint.authority for endpoint in state.endpoints}) == len(chosen)


LINES = [
    "endpoints:",
    "objects:",
    "- name: a",
    "  address: 10.0.0.1",
    "  port: 1",
    "  port:",
    "- ",
    "x",
    "  kind: Service",
]


@given(st.text(max_size=60) | st.lists(st.sampled_from(LINES), max_size=8).map("\n".join))
def test_any_text_is_a_state_or_a_config_error_on_one_line(text: str) -> None:
    problem = ""
    try:
        read_state(load(text, "f"))
    except ConfigError as error:
        problem = str(error)
    assert "\n" not in problem


def test_a_pool_can_take_endpoints_of_every_namespace() -> None:
    text = "endpoints: [{name: a, namespace: x, address: 10.0.0.1, port: 1}, {name: b, address: 10.0.0.2, port: 1}]"
    state = read_state(load(text, "f"), ObjectKey("prod", "epp"), any_namespace=True)
    (pool,) = state.pools
    assert pool.key == ObjectKey("prod", "epp")
    assert state.members(pool) == state.endpoints


def test_a_state_can_be_that_of_one_pool() -> None:
    text = POOL.replace("- ", "objects:\n- ", 1) + POOL.replace("chat", "other").replace("app: x", "app: y")
    endpoints = (
        "endpoints:\n"
        "- {name: a, namespace: prod, address: 10.0.0.1, port: 1, labels: {app: x}}\n"
        "- {name: b, namespace: prod, address: 10.0.0.2, port: 1, labels: {app: y}}\n"
    )
    state = read_state(load(endpoints + text, "f"))
    assert [each.key.name for each in state.of_pool(ObjectKey("prod", "other")).endpoints] == ["b"]
    assert [each.key.name for each in state.of_pool(ObjectKey("prod", "other")).pools] == ["other"]
    assert state.of_pool(ObjectKey("prod", "none")) == DiscoveryState()


@pytest.mark.parametrize(
    ("entry", "destination", "metrics"),
    [
        ("address: gw.a.example.com, port: '443'", "gw.a.example.com:443", "gw.a.example.com:443"),
        ("address: GW.a.example., port: 443", "gw.a.example.:443", "gw.a.example.:443"),
        ("address: localhost, port: 80", "localhost:80", "localhost:80"),
        ("address: 10.0.0.1, port: 80, metricsPort: 9090", "10.0.0.1:80", "10.0.0.1:9090"),
        ("address: 'FD00:0::1', port: 80, labels: {metricsAddress: 'fd00::2'}", "[fd00::1]:80", "[fd00::2]:80"),
        (
            "address: gw, port: 80, labels: {metricsAddress: epp.a.example.com, metricsPort: '9090'}",
            "gw:80",
            "epp.a.example.com:9090",
        ),
        ("address: gw, port: 80, labels: {metricsPort: '9090'}", "gw:80", "gw:9090"),
        (f"address: gw, port: 80, labels: {{metricsAddress: {'a.' * 100}a}}", "gw:80", f"{'a.' * 100}a:80"),
    ],
)
def test_a_cluster_is_a_gateway_and_a_page_that_may_be_elsewhere(entry: str, destination: str, metrics: str) -> None:
    endpoint = cluster(entry)
    assert (endpoint.authority, endpoint.metrics_authority()) == (destination, metrics)


def test_what_says_where_the_page_of_a_cluster_is_is_no_label() -> None:
    labels = "labels: {metricsAddress: epp, metricsPort: '9090', region: eu}"
    assert cluster(f"address: gw, port: 80, {labels}").labels == {"region": "eu"}
    (pod,) = read(f"endpoints: [{{name: a, address: 10.0.0.1, port: 80, {labels}}}]").endpoints
    assert (pod.labels["metricsAddress"], pod.metrics_authority()) == ("epp", "10.0.0.1:80")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        *(
            (f"address: '{address}', port: 80", "address: expected the IP address or host name of")
            for address in (
                "1.2.3",
                "a_b",
                "-a",
                "a-",
                "a..b",
                ".a",
                "0.0.0.0",
                "fe80::1%eth0",
                "[::1]",
                "a:80",
                "é",
                "a" * 64,
                "a." * 128,
            )
        ),
        ("address: gw, port: 80, labels: {metricsAddress: a/b}", "labels.metricsAddress: expected the IP address or"),
        ("address: gw, port: 80, labels: {metricsPort: x}", "labels.metricsPort: expected a port from 1 to 65535"),
        ("address: gw, port: 80, metricsPort: 9, labels: {metricsPort: '9'}", "metricsPort: the label metricsPort is"),
        ("address: gw, port: 80}\n- {name: b, address: GW, port: 80", "gw:80 is given twice, first at f:2"),
    ],
)
def test_what_is_no_cluster_is_refused(entry: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"f:\d: endpoints\[\d\].*{problem}"):
        cluster(entry)


LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)


@given(st.lists(LABEL, min_size=1, max_size=5).map(".".join), st.integers(1, 65535))
def test_a_cluster_is_sent_to_as_it_is_written(host: str, port: int) -> None:
    try:
        endpoint = cluster(f"address: '{host}', port: {port}")
    except ConfigError:
        # Numbers alone are no host name, and an IPv4 address only where there are four.
        assert not any(letter.isalpha() for letter in host)
    else:
        assert endpoint.authority == f"{host}:{port}"


ANNOTATED = """\
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: NAME, namespace: prod, annotations: {infscale.dev/pool: chat}}
  spec: {selector: {matchLabels: {app: NAME}}}
"""


def test_an_annotated_object_of_a_file_is_the_pool_of_the_endpoints_it_selects() -> None:
    state = read(
        "objects:\n"
        + ANNOTATED.replace("NAME", "vllm")
        + """\
endpoints:
- {name: a, namespace: prod, address: 10.0.0.1, port: 8000, labels: {app: vllm}}
- {name: b, namespace: prod, address: 10.0.0.2, port: 8001, labels: {app: other}}
"""
    )
    [pool] = state.pools
    assert pool.key == ObjectKey("prod", "chat")
    assert [each.key.name for each in state.members(pool)] == ["a"]


@pytest.mark.parametrize("first", [POOL, ANNOTATED.replace("NAME", "b")])
def test_a_pool_that_is_declared_twice_is_refused(first: str) -> None:
    with pytest.raises(ConfigError, match=r"^f:\d+: objects\[1\]: pool prod/chat is declared twice, first at f:2$"):
        read("objects:\n" + first + ANNOTATED.replace("NAME", "a"))


def test_a_mistake_in_an_annotation_of_a_file_is_refused() -> None:
    wrong = ANNOTATED.replace("NAME", "a").replace("chat}", 'chat, infscale.dev/pool-ports: "0"}')
    with pytest.raises(ConfigError, match=r"pool-ports.*expected 1 to 8 ports, such as 8000"):
        read("objects:\n" + wrong)


@pytest.mark.parametrize(
    ("first", "second"),
    [({"phase": "draining"}, {}), ({}, {"phase": "draining"})],
    ids=["the first says so", "the second says so"],
)
def test_all_ranks_of_a_pod_drain_together(first: dict[str, str], second: dict[str, str]) -> None:
    entries: list[Plain] = [
        {"name": "vllm-0", "address": "10.0.0.1", "port": "8000", **first},
        {"name": "vllm-0", "address": "10.0.0.1", "port": "8001", **second},
        {"name": "vllm-1", "address": "10.0.0.2", "port": "8000"},
    ]
    state = read_state(from_plain({"endpoints": entries}, "discovery.yaml"))
    assert [each.phase for each in state.endpoints] == [Phase.DRAINING, Phase.DRAINING, Phase.READY]


def test_a_label_says_that_an_endpoint_drains() -> None:
    entries: list[Plain] = [
        {"name": f"vllm-{row}", "address": f"10.0.0.{row + 1}", "port": "8000", "labels": {DRAINING_LABEL: said}}
        for row, said in enumerate(("true", "false"))
    ]
    state = read_state(from_plain({"endpoints": entries}, "discovery.yaml"))
    assert [each.phase for each in state.endpoints] == [Phase.DRAINING, Phase.READY]
