"""The flags of the reference endpoint picker (llm-d-router), and what becomes of each here.

One row per flag; `docs/reference-command-line.md` has the same table. What honouring a flag means is in
`infscale.reference.translation`.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """One flag: its form and the reference's default, what becomes of it here, and what that means in words."""

    name: str
    form: Form
    default: str
    treatment: Treatment
    effect: str


_METRIC = "instead of vLLM's metric: {}; empty: there is none"

FLAGS: tuple[ReferenceFlag, ...] = (
    ReferenceFlag("grpc-port", Form.PORT, "9002", Treatment.HONOURED, "where the gateway asks, on all addresses"),
    ReferenceFlag("grpc-health-port", Form.PORT, "9003", Treatment.HONOURED, "gRPC health checks in plain text"),
    ReferenceFlag(
        "metrics-port",
        Form.PORT,
        "9090",
        Treatment.HONOURED,
        "`/metrics` in plain text; which addresses listen is up to `--metrics-endpoint-auth`",
    ),
    ReferenceFlag(
        "metrics-endpoint-auth",
        Form.BOOLEAN,
        "true",
        Treatment.HONOURED,
        "true: the cluster authorizes each reader of `/metrics`, and without a cluster it listens on loopback; "
        "false: every reader is answered",
    ),
    ReferenceFlag("metrics-client-ca-file", Form.TEXT, "", Treatment.REFUSED, "`/metrics` is plain text"),
    ReferenceFlag("metrics-cert-dir", Form.TEXT, "", Treatment.REFUSED, "`/metrics` is plain text"),
    ReferenceFlag(
        "secure-serving",
        Form.BOOLEAN,
        "true",
        Treatment.HONOURED,
        "TLS on `--grpc-port`, with a self-signed certificate unless there is `--cert-path`",
    ),
    ReferenceFlag("cert-path", Form.TEXT, "", Treatment.HONOURED, "the folder of `tls.crt` and `tls.key`"),
    ReferenceFlag(
        "enable-cert-reload", Form.BOOLEAN, "false", Treatment.HONOURED, "new connections get the changed certificate"
    ),
    ReferenceFlag(
        "tls-min-version",
        Form.TEXT,
        "VersionTLS12",
        Treatment.HONOURED,
        "`VersionTLS12` or `VersionTLS13`, also written `1.2` or `1.3`; the transport `grpc_aio` refuses the latter",
    ),
    ReferenceFlag("tls-cipher-suites", Form.TEXT, "", Treatment.REFUSED, "the suites are those of the TLS library"),
    ReferenceFlag("pool-name", Form.TEXT, "", Treatment.HONOURED, "the `InferencePool` that is followed"),
    ReferenceFlag(
        "pool-namespace",
        Form.TEXT,
        "",
        Treatment.HONOURED,
        "its namespace; else the variable `NAMESPACE`, else `default`",
    ),
    ReferenceFlag(
        "pool-group",
        Form.TEXT,
        "inference.networking.k8s.io",
        Treatment.HONOURED,
        "its API group; `inference.networking.x-k8s.io` is the other one",
    ),
    ReferenceFlag(
        "endpoint-selector",
        Form.TEXT,
        "",
        Treatment.HONOURED,
        "a label selector instead of an `InferencePool`; its pool has the name of `POD_NAME`'s Deployment, or `epp`",
    ),
    ReferenceFlag("endpoint-target-ports", Form.PORTS, "", Treatment.HONOURED, "1 to 8 ports of those pods"),
    ReferenceFlag(
        "disable-endpoint-subset-filter",
        Form.BOOLEAN,
        "false",
        Treatment.HONOURED,
        "the gateway's hint which endpoints to pick from is ignored",
    ),
    ReferenceFlag(
        "emit-endpoint-scores", Form.BOOLEAN, "false", Treatment.HONOURED, "scores go to the gateway as metadata"
    ),
    ReferenceFlag(
        "conformance",
        Form.BOOLEAN,
        "false",
        Treatment.HONOURED,
        "not a flag of the reference: the preset `conformance` schedules, for conformance tests of gateways; the "
        "variable `INFSCALE_CONFORMANCE` has the same effect",
    ),
    ReferenceFlag(
        "refresh-metrics-interval", Form.DURATION, "50ms", Treatment.HONOURED, "how often each endpoint is scraped"
    ),
    ReferenceFlag(
        "metrics-staleness-threshold",
        Form.DURATION,
        "2s",
        Treatment.HONOURED,
        "the age from which a value is unusable; at least twice the interval",
    ),
    ReferenceFlag(
        "refresh-prometheus-metrics-interval",
        Form.DURATION,
        "5s",
        Treatment.WITHOUT_EFFECT,
        "metrics are computed when `/metrics` is read",
    ),
    ReferenceFlag(
        "config-file",
        Form.TEXT,
        "",
        Treatment.HONOURED,
        "an `EndpointPickerConfig`; its changes apply while running",
    ),
    ReferenceFlag(
        "config-text",
        Form.TEXT,
        "",
        Treatment.HONOURED,
        "the same as text; with neither, the preset `reference` schedules",
    ),
    ReferenceFlag(
        "allow-experimental-plugins",
        Form.BOOLEAN,
        "false",
        Treatment.WITHOUT_EFFECT,
        "every plugin of infscale can be used",
    ),
    ReferenceFlag(
        "ha-enable-leader-election",
        Form.BOOLEAN,
        "false",
        Treatment.ONLY_FALSE,
        "every replica serves; there is no leader",
    ),
    ReferenceFlag(
        "drain-timeout",
        Form.DURATION,
        "30s",
        Treatment.HONOURED,
        "how long new exchanges are accepted after SIGTERM; open ones then have the same time again to end",
    ),
    ReferenceFlag(
        "tracing", Form.BOOLEAN, "true", Treatment.ONLY_FALSE, "no traces are sent; without the flag it is false"
    ),
    ReferenceFlag(
        "health-checking",
        Form.BOOLEAN,
        "false",
        Treatment.WITHOUT_EFFECT,
        "`--grpc-port` always answers health checks, too",
    ),
    ReferenceFlag("enable-pprof", Form.BOOLEAN, "true", Treatment.WITHOUT_EFFECT, "there is no Go program to profile"),
    ReferenceFlag(
        "enable-grpc-stream-metrics",
        Form.BOOLEAN,
        "false",
        Treatment.ONLY_FALSE,
        "there are no metrics of single streams",
    ),
    ReferenceFlag(
        "grpc-max-recv-msg-size",
        Form.TEXT,
        "4Mi",
        Treatment.WITHOUT_EFFECT,
        "messages of up to 64 MiB are accepted",
    ),
    ReferenceFlag("grpc-max-send-msg-size", Form.TEXT, "", Treatment.WITHOUT_EFFECT, "there is no limit"),
    ReferenceFlag(
        "total-queued-requests-metric", Form.TEXT, "", Treatment.HONOURED, _METRIC.format("waiting requests")
    ),
    ReferenceFlag(
        "total-running-requests-metric", Form.TEXT, "", Treatment.HONOURED, _METRIC.format("running requests")
    ),
    ReferenceFlag(
        "running-requests-metric",
        Form.TEXT,
        "",
        Treatment.HONOURED,
        "another name of `--total-running-requests-metric`",
    ),
    ReferenceFlag(
        "kv-cache-usage-percentage-metric",
        Form.TEXT,
        "",
        Treatment.HONOURED,
        _METRIC.format("KV-cache utilisation, from 0 to 1"),
    ),
    ReferenceFlag(
        "lora-info-metric", Form.TEXT, "", Treatment.HONOURED, _METRIC.format("LoRA adapters, by vLLM's labels")
    ),
    ReferenceFlag(
        "cache-info-metric",
        Form.TEXT,
        "",
        Treatment.HONOURED,
        _METRIC.format("the KV cache's size, by the labels `block_size` and `num_gpu_blocks`"),
    ),
    ReferenceFlag("model-server-metrics-scheme", Form.TEXT, "http", Treatment.HONOURED, "`http` or `https`"),
    ReferenceFlag("model-server-metrics-path", Form.TEXT, "/metrics", Treatment.HONOURED, "where metrics pages are"),
    ReferenceFlag(
        "model-server-metrics-port",
        Form.PORT,
        "0",
        Treatment.HONOURED,
        "the port of metrics pages; 0: each endpoint's own",
    ),
    ReferenceFlag(
        "model-server-metrics-https-insecure-skip-verify",
        Form.BOOLEAN,
        "true",
        Treatment.HONOURED,
        "true: certificates of https pages are not verified",
    ),
    ReferenceFlag(
        "kubeconfig",
        Form.TEXT,
        "",
        Treatment.HONOURED,
        "the cluster; else that of `KUBECONFIG`, else the one it runs in, else that of `~/.kube/config`",
    ),
    ReferenceFlag("v", Form.INTEGER, "2", Treatment.HONOURED, "from 4 on the log has debug lines"),
    ReferenceFlag("zap-encoder", Form.TEXT, "json", Treatment.HONOURED, "`json`, or `console` for lines of text"),
    ReferenceFlag(
        "zap-log-level", Form.TEXT, "", Treatment.HONOURED, "`debug`, `info`, `error` or a number as in `-v`"
    ),
    ReferenceFlag("zap-devel", Form.BOOLEAN, "false", Treatment.HONOURED, "lines of text instead of JSON"),
    ReferenceFlag(
        "zap-stacktrace-level",
        Form.TEXT,
        "",
        Treatment.WITHOUT_EFFECT,
        "only faults of the program are logged with a stack trace",
    ),
    ReferenceFlag("zap-time-encoding", Form.TEXT, "", Treatment.WITHOUT_EFFECT, "times are in RFC 3339, UTC"),
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
