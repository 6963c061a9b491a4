"""Envoy configurations we recommend, as documents.

One Envoy can have several listeners: with endpoint picking (`PickerRoute`), or with Envoy's own round robin
(`RoundRobinRoute`) to compare with. Facts behind every choice are in DECISIONS.md ("Envoy").
"""

from collections.abc import Sequence
from dataclasses import dataclass

from infscale.client_headers import stripped
from infscale.endpoint import authority

Document = dict[str, object]

DESTINATION_HEADER = "x-gateway-destination-endpoint"
_TYPE = "type.googleapis.com/envoy.extensions"
_HTTP2: Document = {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
}


@dataclass(frozen=True, slots=True)
class Address:
    """A socket address."""

    host: str
    port: int

    def __str__(self) -> str:
        return authority(self.host, self.port)

    def document(self) -> Document:
        """As Envoy writes it."""
        return {"socket_address": {"address": self.host, "port_value": self.port}}


@dataclass(frozen=True, slots=True)
class PickerRoute:
    """A listener whose requests go where the picker says.

    Envoy knows `endpoints` and takes the first of the destinations that it can connect to. None: it knows none, so that
    endpoints may come and go without a word to it; it takes one destination and tries no other. `response_bodies` sends
    the picker every response chunk as well (full duplex): needed to read token usage or to restore model names.
    `trusted_headers` are those of `picker.trusted_headers` that something before this Envoy sets: clients' are removed
    from all others that the picker knows. With `fail_open` requests go on by round robin where no picker is healthy;
    with `h2c` the endpoints speak HTTP/2 in plain text.
    """

    listen: Address
    picker: Address
    endpoints: tuple[Address, ...] | None
    response_bodies: bool = False
    picker_ca_file: str | None = None
    trusted_headers: tuple[str, ...] = ()
    fail_open: bool = False
    h2c: bool = False


@dataclass(frozen=True, slots=True)
class RoundRobinRoute:
    """A listener with Envoy's own round robin."""

    listen: Address
    endpoints: tuple[Address, ...]


Route = PickerRoute | RoundRobinRoute


def bootstrap(admin: Address, routes: Sequence[Route]) -> Document:
    """A whole Envoy bootstrap document for `routes`."""
    listeners: list[Document] = []
    clusters: list[Document] = []
    for number, route in enumerate(routes):
        name = f"route_{number}"
        listeners.append(_listener(name, route))
        clusters.append(_endpoints_cluster(name, route))
        if isinstance(route, PickerRoute):
            clusters.append(_picker_cluster(f"{name}_picker", route))
    return {"admin": {"address": admin.document()}, "static_resources": {"listeners": listeners, "clusters": clusters}}


def _listener(name: str, route: Route) -> Document:
    filters: list[Document] = []
    manager: Document = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "stream_idle_timeout": "300s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {
            "virtual_hosts": [
                {"name": name, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": _action(name)}]}
            ]
        },
        "http_filters": filters,
    }
    if isinstance(route, PickerRoute):
        # What only a gateway may say. Where the picker is skipped (fail open), a client's own destination header would
        # even choose the upstream.
        manager["early_header_mutation_extensions"] = [
            {
                "name": "strip_client_headers",
                "typed_config": {
                    "@type": f"{_TYPE}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    "mutations": [{"remove": name} for name in stripped(route.trusted_headers)],
                },
            }
        ]
        filters.append(_ext_proc(name, route))
    filters.append({"name": "router", "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"}})
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"name": name, "address": route.listen.document(), "filter_chains": [chain]}


def _action(name: str) -> Document:
    return {
        "cluster": name,
        "timeout": "0s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream",
            "num_retries": 2,
            "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.02s"},
        },
    }


def _ext_proc(name: str, route: PickerRoute) -> Document:
    return {
        "name": "ext_proc",
        "typed_config": {
            "@type": f"{_TYPE}.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": f"{name}_picker"}, "timeout": "10s"},
            "failure_mode_allow": route.fail_open,
            # Longer than a request is held (`picker.flow_control.max_wait_seconds`).
            "message_timeout": "90s",
            "processing_mode": {
                "request_header_mode": "SEND",
                "request_body_mode": "FULL_DUPLEX_STREAMED",
                "request_trailer_mode": "SEND",
                "response_header_mode": "SEND",
                "response_body_mode": "FULL_DUPLEX_STREAMED" if route.response_bodies else "NONE",
                # Keeps the stream open until the response ends: completion and abort are seen without its bodies.
                "response_trailer_mode": "SEND",
            },
            # The endpoint that answered: after a retry it is not the first destination.
            "response_attributes": ["upstream.address"],
            "metadata_options": {
                "forwarding_namespaces": {"untyped": ["envoy.lb", "envoy.lb.subset_hint"]},
                "receiving_namespaces": {"untyped": ["envoy.lb", "infscale"]},
            },
        },
    }


def _cluster(name: str, kind: str) -> Document:
    limits = {"max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000, "max_retries": 1000}
    return {"name": name, "type": kind, "connect_timeout": "1s", "circuit_breakers": {"thresholds": [limits]}}


def _static_cluster(name: str, endpoints: Sequence[Address]) -> Document:
    members = [{"endpoint": {"address": endpoint.document()}} for endpoint in endpoints]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": members}]}
    return {**_cluster(name, "STATIC"), "load_assignment": assignment}


def _endpoints_cluster(name: str, route: Route) -> Document:
    if route.endpoints is None:
        header: Document = {"use_http_header": True, "http_header_name": DESTINATION_HEADER}
        provided: Document = {"lb_policy": "CLUSTER_PROVIDED", "original_dst_lb_config": header}
        return {**_cluster(name, "ORIGINAL_DST"), **provided}
    cluster = _static_cluster(name, route.endpoints)
    round_robin: Document = {
        "name": "round_robin",
        "typed_config": {"@type": f"{_TYPE}.load_balancing_policies.round_robin.v3.RoundRobin"},
    }
    policy = round_robin
    if isinstance(route, PickerRoute):
        policy = {
            "name": "override_host",
            "typed_config": {
                "@type": f"{_TYPE}.load_balancing_policies.override_host.v3.OverrideHost",
                "override_host_sources": [{"header": DESTINATION_HEADER}],
                "fallback_policy": {"policies": [{"typed_extension_config": round_robin}]},
            },
        }
        if route.h2c:
            cluster["typed_extension_protocol_options"] = _HTTP2
    cluster["load_balancing_policy"] = {"policies": [{"typed_extension_config": policy}]}
    return cluster


def _picker_cluster(name: str, route: PickerRoute) -> Document:
    cluster = _static_cluster(name, [route.picker])
    cluster["typed_extension_protocol_options"] = _HTTP2
    # A picker that is listed but dead fails requests with a body even in fail-open mode: health checks take it out.
    cluster["health_checks"] = [
        {
            "timeout": "1s",
            "interval": "2s",
            "no_traffic_interval": "1s",
            "unhealthy_threshold": 2,
            "healthy_threshold": 1,
            "grpc_health_check": {"service_name": ""},
        }
    ]
    if route.fail_open:
        # Envoy goes on asking the only picker it has, healthy or not, unless it is told to do without.
        cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}
    if route.picker_ca_file is not None:
        cluster["transport_socket"] = {
            "name": "tls",
            "typed_config": {
                "@type": f"{_TYPE}.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    "validation_context": {"trusted_ca": {"filename": route.picker_ca_file}},
                },
            },
        }
    return cluster
