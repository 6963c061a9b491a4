"""The flags of the reference endpoint picker (llm-d-router), and what becomes of each here.

One row per flag; `docs/reference-command-line.md` has the same table. What honouring a flag means is in
`infscale.reference.translation`.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from infscale.reference import go_flags
from infscale.reference.go_flags import Flags, refuse


class Form(enum.Enum):
    """What the value of a flag looks like; the value is the word of the documentation."""

    BOOLEAN = "true or false"
    INTEGER = "number"
    PORT = "port"
    PORTS = "ports"
    DURATION = "duration"
    TEXT = "text"


class Treatment(enum.Enum):
    """What becomes of a flag; the value is the word of the documentation."""

    HONOURED = "honoured"
    WITHOUT_EFFECT = "without effect"
    """It is accepted, and a line of the log says that it changes nothing."""
    ONLY_FALSE = "refused when true"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ReferenceFlag:
    """One flag: its form and the reference's default, what it does here in words, and what becomes of it."""

    name: str
    form: Form
    default: str
    effect: str
    treatment: Treatment = Treatment.HONOURED


_without_effect = partial(ReferenceFlag, treatment=Treatment.WITHOUT_EFFECT)
_only_false = partial(ReferenceFlag, treatment=Treatment.ONLY_FALSE)
_refused = partial(ReferenceFlag, treatment=Treatment.REFUSED)

_METRIC = "instead of vLLM's metric: {}; empty: there is none"

FLAGS: tuple[ReferenceFlag, ...] = (
    ReferenceFlag("grpc-port", Form.PORT, "9002", "where the gateway asks, on all addresses"),
    ReferenceFlag("grpc-health-port", Form.PORT, "9003", "gRPC health checks in plain text"),
    ReferenceFlag(
        "metrics-port",
        Form.PORT,
        "9090",
        "`/metrics` in plain text; which addresses listen is up to `--metrics-endpoint-auth`",
    ),
    ReferenceFlag(
        "metrics-endpoint-auth",
        Form.BOOLEAN,
        "true",
        "true: the cluster authorizes each reader of `/metrics`, and without a cluster it listens on loopback; "
        "false: every reader is answered",
    ),
    _refused("metrics-client-ca-file", Form.TEXT, "", "`/metrics` is plain text"),
    _refused("metrics-cert-dir", Form.TEXT, "", "`/metrics` is plain text"),
    ReferenceFlag(
        "secure-serving",
        Form.BOOLEAN,
        "true",
        "TLS on `--grpc-port`, with a self-signed certificate unless there is `--cert-path`",
    ),
    ReferenceFlag("cert-path", Form.TEXT, "", "the folder of `tls.crt` and `tls.key`"),
    ReferenceFlag("enable-cert-reload", Form.BOOLEAN, "false", "new connections get the changed certificate"),
    ReferenceFlag(
        "tls-min-version",
        Form.TEXT,
        "VersionTLS12",
        "`VersionTLS12` or `VersionTLS13`, also written `1.2` or `1.3`; the transport `grpc_aio` refuses the latter",
    ),
    _refused("tls-cipher-suites", Form.TEXT, "", "the suites are those of the TLS library"),
    ReferenceFlag("pool-name", Form.TEXT, "", "the `InferencePool` that is followed"),
    ReferenceFlag("pool-namespace", Form.TEXT, "", "its namespace; else the variable `NAMESPACE`, else `default`"),
    ReferenceFlag(
        "pool-group",
        Form.TEXT,
        "inference.networking.k8s.io",
        "its API group; `inference.networking.x-k8s.io` is the other one",
    ),
    ReferenceFlag(
        "endpoint-selector",
        Form.TEXT,
        "",
        "a label selector instead of an `InferencePool`; its pool has the name of `POD_NAME`'s Deployment, or `epp`",
    ),
    ReferenceFlag("endpoint-target-ports", Form.PORTS, "", "1 to 8 ports of those pods"),
    ReferenceFlag(
        "disable-endpoint-subset-filter",
        Form.BOOLEAN,
        "false",
        "the gateway's hint which endpoints to pick from is ignored",
    ),
    ReferenceFlag("emit-endpoint-scores", Form.BOOLEAN, "false", "scores go to the gateway as metadata"),
    ReferenceFlag(
        "conformance",
        Form.BOOLEAN,
        "false",
        "not a flag of the reference: the preset `conformance` schedules, for conformance tests of gateways; the "
        "variable `INFSCALE_CONFORMANCE` has the same effect",
    ),
    ReferenceFlag("refresh-metrics-interval", Form.DURATION, "50ms", "how often each endpoint is scraped"),
    ReferenceFlag(
        "metrics-staleness-threshold",
        Form.DURATION,
        "2s",
        "the age from which a value is unusable; at least twice the interval",
    ),
    _without_effect(
        "refresh-prometheus-metrics-interval", Form.DURATION, "5s", "metrics are computed when `/metrics` is read"
    ),
    ReferenceFlag("config-file", Form.TEXT, "", "an `EndpointPickerConfig`; its changes apply while running"),
    ReferenceFlag("config-text", Form.TEXT, "", "the same as text; with neither, the preset `reference` schedules"),
    _without_effect("allow-experimental-plugins", Form.BOOLEAN, "false", "every plugin of infscale can be used"),
    _only_false("ha-enable-leader-election", Form.BOOLEAN, "false", "every replica serves; there is no leader"),
    ReferenceFlag(
        "drain-timeout",
        Form.DURATION,
        "30s",
        "how long new exchanges are accepted after SIGTERM; open ones then have the same time again to end",
    ),
    _only_false("tracing", Form.BOOLEAN, "true", "no traces are sent; without the flag it is false"),
    _without_effect("health-checking", Form.BOOLEAN, "false", "`--grpc-port` always answers health checks, too"),
    _without_effect("enable-pprof", Form.BOOLEAN, "true", "there is no Go program to profile"),
    _only_false("enable-grpc-stream-metrics", Form.BOOLEAN, "false", "there are no metrics of single streams"),
    _without_effect("grpc-max-recv-msg-size", Form.TEXT, "4Mi", "messages of up to 64 MiB are accepted"),
    _without_effect("grpc-max-send-msg-size", Form.TEXT, "", "there is no limit"),
    ReferenceFlag("total-queued-requests-metric", Form.TEXT, "", _METRIC.format("waiting requests")),
    ReferenceFlag("total-running-requests-metric", Form.TEXT, "", _METRIC.format("running requests")),
    ReferenceFlag("running-requests-metric", Form.TEXT, "", "another name of `--total-running-requests-metric`"),
    ReferenceFlag(
        "kv-cache-usage-percentage-metric", Form.TEXT, "", _METRIC.format("KV-cache utilisation, from 0 to 1")
    ),
    ReferenceFlag("lora-info-metric", Form.TEXT, "", _METRIC.format("LoRA adapters, by vLLM's labels")),
    ReferenceFlag(
        "cache-info-metric",
        Form.TEXT,
        "",
        _METRIC.format("the KV cache's size, by the labels `block_size` and `num_gpu_blocks`"),
    ),
    ReferenceFlag("model-server-metrics-scheme", Form.TEXT, "http", "`http` or `https`"),
    ReferenceFlag("model-server-metrics-path", Form.TEXT, "/metrics", "where metrics pages are"),
    ReferenceFlag("model-server-metrics-port", Form.PORT, "0", "the port of metrics pages; 0: each endpoint's own"),
    ReferenceFlag(
        "model-server-metrics-https-insecure-skip-verify",
        Form.BOOLEAN,
        "true",
        "true: certificates of https pages are not verified",
    ),
    ReferenceFlag(
        "kubeconfig",
        Form.TEXT,
        "",
        "the cluster; else that of `KUBECONFIG`, else the one it runs in, else that of `~/.kube/config`",
    ),
    ReferenceFlag("v", Form.INTEGER, "2", "from 4 on the log has debug lines"),
    ReferenceFlag("zap-encoder", Form.TEXT, "json", "`json`, or `console` for lines of text"),
    ReferenceFlag("zap-log-level", Form.TEXT, "", "`debug`, `info`, `error` or a number as in `-v`"),
    ReferenceFlag("zap-devel", Form.BOOLEAN, "false", "lines of text instead of JSON"),
    _without_effect("zap-stacktrace-level", Form.TEXT, "", "only faults of the program are logged with a stack trace"),
    _without_effect("zap-time-encoding", Form.TEXT, "", "times are in RFC 3339, UTC"),
)
"""Every flag of the reference, those of its older versions included, in the order of its own help."""

BY_NAME: Mapping[str, ReferenceFlag] = MappingProxyType({flag.name: flag for flag in FLAGS})


def read(arguments: Sequence[str]) -> Flags:
    """The flags that were given. Raises `ConfigError` for unknown ones and for those that cannot be honoured."""
    booleans = {flag.name for flag in FLAGS if flag.form is Form.BOOLEAN}
    flags = go_flags.parse(arguments, booleans, BY_NAME.keys() - booleans)
    for name in flags.given:
        flag = BY_NAME[name]
        if flag.treatment is Treatment.REFUSED:
            refuse(name, f"cannot be honoured: {_plain(flag.effect)}")
        if flag.treatment is Treatment.ONLY_FALSE and flags.boolean(name):
            refuse(name, f"cannot be honoured when true: {_plain(flag.effect)}")
    return flags


def notes(flags: Flags) -> tuple[str, ...]:
    """A line for the log on each flag that was given and changes nothing. Raises `ConfigError` for wrong values."""
    idle = [BY_NAME[name] for name in flags.given if BY_NAME[name].treatment is Treatment.WITHOUT_EFFECT]
    for flag in idle:
        if flag.form is Form.BOOLEAN:
            flags.boolean(flag.name)
        elif flag.form is Form.DURATION:
            flags.duration(flag.name, 0.0)
    return tuple(f"--{flag.name} has no effect: {_plain(flag.effect)}" for flag in idle)


def _plain(effect: str) -> str:
    return effect.replace("`", "")
