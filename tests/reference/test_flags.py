"""Every flag of the reference picker is known, and means what the table says."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.client_headers import TRUSTABLE
from infscale.config.settings import (
    DiscoverySettings,
    KubernetesDiscoverySettings,
    KubernetesSettings,
    ListenAddress,
    LogSettings,
    PickerSettings,
    PickerTlsFiles,
    ScrapeSettings,
    ServeConfig,
    TelemetrySettings,
)
from infscale.endpoint import ObjectKey, OnlyPool, Pool
from infscale.errors import ConfigError
from infscale.labels import Selector
from infscale.metrics.gauges import EngineGauges
from infscale.metrics.pages.written_dialects import EngineNames
from infscale.reference import flags as reference_flags
from infscale.reference.flags import FLAGS, Form, Treatment
from infscale.reference.translation import Translation, translate
from picker.epp_config.discovery_source import FileSource

ROOT = Path(__file__).parents[2]
GROUP = "inference.networking.k8s.io"
IN_CLUSTER: Mapping[str, str] = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOME": "/home/one"}
FILE = FileSource(Path("endpoints.yaml"), True, "epp.yaml:4")
CHAT = ObjectKey("default", "chat")


def translated(
    *arguments: str, environment: Mapping[str, str] = IN_CLUSTER, source: FileSource | None = None
) -> Translation:
    return translate(reference_flags.read(arguments), environment, source)


def of_chat(*arguments: str, environment: Mapping[str, str] = IN_CLUSTER) -> ServeConfig:
    return translated("--pool-name=chat", *arguments, environment=environment).config


def picker(*arguments: str) -> PickerSettings:
    return of_chat(*arguments).picker


def test_a_pool_name_alone_is_the_reference_by_default() -> None:
    follow = KubernetesDiscoverySettings(("default",), write_status=False, only=OnlyPool(CHAT, GROUP))
    found = translated("--pool-name", "chat")
    assert found.config == ServeConfig(
        DiscoverySettings(kubernetes=follow),
        KubernetesSettings(),
        scrape=ScrapeSettings(0.05, 0.8 * 0.05, 2.0),
        picker=PickerSettings(
            listen=ListenAddress("0.0.0.0", 9002),
            health_listen=ListenAddress("0.0.0.0", 9003),
            pool=CHAT,
            preset="reference",
            error_format="reference",
            drain_timeout_seconds=30.0,
            drain_notice_seconds=30.0,
            ready_without_endpoints=True,
            any_health_service=True,
            trusted_headers=TRUSTABLE,
            unknown_objectives="default",
        ),
        telemetry=TelemetrySettings(ListenAddress("0.0.0.0", 9090), reference_names=True, ask_cluster=True),
        log=LogSettings("info", "json"),
    )
    assert found.self_signed
    assert found.notes == ()


PICKERS: dict[str, tuple[list[str], dict[str, object]]] = {
    "ports": (
        ["--grpc-port=1", "--grpc-health-port", "2"],
        {"listen": ListenAddress("0.0.0.0", 1), "health_listen": ListenAddress("0.0.0.0", 2)},
    ),
    "scores": (["--emit-endpoint-scores"], {"emit_endpoint_scores": True}),
    "subset": (["--disable-endpoint-subset-filter"], {"subset_hints": False}),
    "drain": (["--drain-timeout=1m30s"], {"drain_timeout_seconds": 90.0, "drain_notice_seconds": 90.0}),
    "file": (["--config-file=/etc/epp.yaml"], {"preset": None, "config_file": Path("/etc/epp.yaml")}),
    "text": (["--config-text", "kind: x"], {"preset": None, "config_text": "kind: x"}),
    "conformance": (["--conformance"], {"preset": "conformance"}),
    "certificate": (["--cert-path=/c"], {"tls": PickerTlsFiles(Path("/c/tls.crt"), Path("/c/tls.key"))}),
    "reload": (
        ["--cert-path=/c", "--enable-cert-reload", "--tls-min-version=VersionTLS13"],
        {"tls": PickerTlsFiles(Path("/c/tls.crt"), Path("/c/tls.key"), True, "1.3")},
    ),
    "plain text": (["--secure-serving=false", "--cert-path=/c"], {"tls": None}),
    "of no effect": (["--health-checking", "--enable-pprof=false", "--allow-experimental-plugins"], {}),
    "off as it is": (["--tracing=false", "--ha-enable-leader-election=false"], {}),
}


@pytest.mark.parametrize(("arguments", "expected"), PICKERS.values(), ids=PICKERS)
def test_flags_say_how_the_picker_serves(arguments: list[str], expected: dict[str, object]) -> None:
    assert picker(*arguments) == replace(picker(), **expected)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("arguments", "self_signed"),
    [([], True), (["--cert-path=/c"], False), (["--secure-serving=false"], False)],
    ids=["by default", "with a certificate", "plain text"],
)
def test_a_certificate_is_made_where_none_is_given(arguments: list[str], self_signed: bool) -> None:
    assert translated("--pool-name=chat", *arguments).self_signed is self_signed


def test_scraping_follows_the_intervals() -> None:
    found = of_chat("--refresh-metrics-interval=200ms", "--metrics-staleness-threshold=1s").scrape
    assert found == ScrapeSettings(0.2, 0.8 * 0.2, 1.0)


SCRAPES: dict[str, tuple[list[str], dict[str, object]]] = {
    "scheme": (["--model-server-metrics-scheme=https"], {"scheme": "https", "verify_tls": False}),
    "verified": (
        ["--model-server-metrics-scheme=https", "--model-server-metrics-https-insecure-skip-verify=false"],
        {"scheme": "https"},
    ),
    "nothing to verify": (["--model-server-metrics-https-insecure-skip-verify"], {}),
    "path": (["--model-server-metrics-path=/m"], {"path": "/m"}),
    "port": (["--model-server-metrics-port=9100"], {"port": 9100}),
    "each endpoint's port": (["--model-server-metrics-port=0"], {}),
    "queued": (["--total-queued-requests-metric=q{a=b}"], {"waiting": "q{a=b}"}),
    "running": (["--total-running-requests-metric=r"], {"running": "r"}),
    "running, by its other name": (["--running-requests-metric=r"], {"running": "r"}),
    "running, by both": (["--running-requests-metric=r", "--total-running-requests-metric=r"], {"running": "r"}),
    "KV cache": (["--kv-cache-usage-percentage-metric=k"], {"kv_utilization": "k"}),
    "LoRA": (["--lora-info-metric="], {"lora": ""}),
    "cache": (["--cache-info-metric=c"], {"cache_info": "c"}),
    "several": (
        ["--total-queued-requests-metric=q", "--lora-info-metric=", "--model-server-metrics-port=1"],
        {"waiting": "q", "lora": "", "port": 1},
    ),
}


@pytest.mark.parametrize(
    ("said", "preset"), [("true", "conformance"), ("false", "reference"), ("yes", None), ("", None)]
)
def test_the_environment_may_ask_for_conformance(said: str, preset: str | None) -> None:
    environment = {**IN_CLUSTER, "INFSCALE_CONFORMANCE": said}
    if preset is None:
        with pytest.raises(ConfigError, match="INFSCALE_CONFORMANCE is to be true or false"):
            of_chat(environment=environment)
    else:
        assert of_chat(environment=environment).picker.preset == preset


@pytest.mark.parametrize(("arguments", "expected"), SCRAPES.values(), ids=SCRAPES)
def test_flags_say_how_engines_are_scraped(arguments: list[str], expected: dict[str, Any]) -> None:
    of_engines = {*EngineGauges._fields, "lora", "cache_info"}
    names = {key: text for key, text in expected.items() if key in of_engines}
    other = {key: value for key, value in expected.items() if key not in of_engines}
    if names:
        # What the flags leave out stays vLLM's; endpoints that say nothing else are taken to speak it.
        gauges = EngineGauges(*[names.pop(gauge, None) for gauge in EngineGauges._fields])
        own = EngineNames("vllm", "vllm", gauges, **names)
        other |= {"dialect": "vllm", "dialects": (own,)}
    default = ScrapeSettings(0.05, 0.8 * 0.05, 2.0)
    assert of_chat(*arguments).scrape == replace(default, **other)


def test_without_auth_metrics_are_for_everybody() -> None:
    found = translated("--pool-name=chat", "--metrics-endpoint-auth=false", "--metrics-port=8")
    assert found.config.telemetry == TelemetrySettings(ListenAddress("0.0.0.0", 8), reference_names=True)
    assert found.notes == ()


def test_without_a_cluster_to_ask_metrics_are_for_this_machine() -> None:
    found = translated(source=FILE)
    assert found.config.telemetry == TelemetrySettings(ListenAddress("127.0.0.1", 9090), reference_names=True)
    (note,) = found.notes
    assert note.startswith("/metrics listens on loopback only: there is no cluster to authorize")


LOGS: dict[str, tuple[list[str], LogSettings]] = {
    "v": (["-v", "2"], LogSettings("info", "json")),
    "debug": (["--v=4"], LogSettings("debug", "json")),
    "console": (["--zap-encoder=console"], LogSettings("info", "text")),
    "development": (["--zap-devel"], LogSettings("info", "text")),
    "development in JSON": (["--zap-devel", "--zap-encoder=json"], LogSettings("info", "json")),
    "level": (["--zap-log-level=error", "-v=5"], LogSettings("error", "json")),
    "level as number": (["--zap-log-level=5"], LogSettings("debug", "json")),
}


@pytest.mark.parametrize(("arguments", "expected"), LOGS.values(), ids=LOGS)
def test_verbosity_is_a_level(arguments: list[str], expected: LogSettings) -> None:
    assert of_chat(*arguments).log == expected


def test_what_has_no_effect_is_said() -> None:
    notes = translated("--pool-name=chat", "--health-checking", "--refresh-prometheus-metrics-interval=5s").notes
    assert [note.split(":")[0] for note in notes[:2]] == [
        "--health-checking has no effect",
        "--refresh-prometheus-metrics-interval has no effect",
    ]


# Where endpoints come from


@pytest.mark.parametrize(
    ("arguments", "environment", "namespace"),
    [
        ([], {}, "default"),
        ([], {"NAMESPACE": "llm"}, "llm"),
        (["--pool-namespace=prod"], {"NAMESPACE": "llm"}, "prod"),
        (["--pool-namespace="], {"NAMESPACE": "llm"}, "llm"),
    ],
)
def test_the_namespace_is_the_flag_s_or_the_pod_s(
    arguments: list[str], environment: dict[str, str], namespace: str
) -> None:
    assert of_chat(*arguments, environment=environment).picker.pool == ObjectKey(namespace, "chat")


def test_the_other_api_group_can_be_asked_for() -> None:
    found = of_chat("--pool-group=inference.networking.x-k8s.io").discovery.kubernetes
    assert found is not None
    assert found.only == OnlyPool(CHAT, "inference.networking.x-k8s.io")


@pytest.mark.parametrize(
    ("pod", "name"),
    [("chat-epp-5d8f7b9c4d-x2x9z", "chat-epp"), ("chat", "epp"), ("", "epp"), ("Chat-5d8f7b9c4d-x2x9z", "epp")],
)
def test_a_selector_makes_a_pool(pod: str, name: str) -> None:
    found = translated(
        "--endpoint-selector=app in (a,b),!old",
        "--endpoint-target-ports=8000,8001",
        environment={"POD_NAME": pod, "NAMESPACE": "llm"},
    ).config
    key = ObjectKey("llm", name)
    made = Pool(
        key, MappingProxyType({}), (8000, 8001), own_ports=True, requirements=Selector.parse("!old,app in (b,a)")
    )
    assert found.discovery.kubernetes == KubernetesDiscoverySettings(
        ("llm",), write_status=False, only=OnlyPool(key, GROUP, made)
    )
    assert found.picker.pool == key


@pytest.mark.parametrize(
    ("arguments", "environment", "kubeconfig"),
    [
        (["--kubeconfig=/a"], {"KUBECONFIG": "/b"}, Path("/a")),
        ([], {"KUBECONFIG": "/b", "KUBERNETES_SERVICE_HOST": "h"}, Path("/b")),
        ([], {"HOME": "/home/one", "KUBERNETES_SERVICE_HOST": "h"}, None),
        ([], {"HOME": "/home/one"}, Path("/home/one/.kube/config")),
        ([], {}, None),
    ],
    ids=["flag", "variable", "in a cluster", "home", "nothing"],
)
def test_the_cluster_is_looked_for_in_the_usual_order(
    arguments: list[str], environment: dict[str, str], kubeconfig: Path | None
) -> None:
    assert of_chat(*arguments, environment=environment).kubernetes == KubernetesSettings(kubeconfig)


@pytest.mark.parametrize(
    ("arguments", "pool"),
    [([], "default/epp"), (["--pool-name=job", "--pool-namespace=slurm"], "slurm/job")],
    ids=["unnamed", "named"],
)
def test_a_file_needs_no_cluster(arguments: list[str], pool: str) -> None:
    found = translated(*arguments, source=FILE).config
    key = ObjectKey(*pool.split("/"))
    assert found.kubernetes is None
    assert found.discovery == DiscoverySettings(Path("endpoints.yaml"), default_pool=key, any_namespace=True)
    assert found.picker.pool == key
    once = translated(*arguments, source=replace(FILE, watch=False)).config
    assert not once.discovery.watch


# Refusals

REFUSED: dict[str, tuple[list[str], str]] = {
    "leader election": (["--ha-enable-leader-election=true"], "--ha-enable-leader-election: cannot be honoured when"),
    "leader election, bare": (["-ha-enable-leader-election"], "--ha-enable-leader-election: cannot be honoured when"),
    "tracing": (["--tracing"], "--tracing: cannot be honoured when true: no traces"),
    "stream metrics": (["--enable-grpc-stream-metrics"], "--enable-grpc-stream-metrics: cannot be honoured"),
    "cipher suites": (["--tls-cipher-suites=x"], "--tls-cipher-suites: cannot be honoured: "),
    "metric name": (
        ["--pool-name=a", "--lora-info-metric=x y"],
        "--lora-info-metric: a metric spec is written name or",
    ),
    "no load": (
        ["--pool-name=a", "--total-queued-requests-metric=", "--total-running-requests-metric="],
        "--total-queued-requests-metric: without it and --total-running-requests-metric no load is known",
    ),
    "two names for one": (
        ["--pool-name=a", "--total-running-requests-metric=a", "--running-requests-metric=b"],
        "--running-requests-metric: differs from --total-running-requests-metric",
    ),
    "metrics scheme": (
        ["--pool-name=a", "--model-server-metrics-scheme=ftp"],
        "--model-server-metrics-scheme: expected http or https, got 'ftp'",
    ),
    "metrics path": (
        ["--pool-name=a", "--model-server-metrics-path=m"],
        "--model-server-metrics-path: expected a path such as /metrics, got 'm'",
    ),
    "metrics port": (
        ["--pool-name=a", "--model-server-metrics-port=65536"],
        "--model-server-metrics-port: expected a whole number from 0 to 65535",
    ),
    "metrics TLS": (["--metrics-cert-dir=x"], "--metrics-cert-dir: cannot be honoured: "),
    "no pool": ([], "--pool-name: expected the InferencePool to follow, or --endpoint-selector"),
    "two pools": (["--pool-name=a", "--endpoint-selector=b"], "--endpoint-selector: does not go with --pool-name"),
    "no ports": (["--endpoint-selector=b"], "--endpoint-target-ports: expected 1 to 8 ports, such as 8000, got 0"),
    "too many ports": (
        ["--endpoint-selector=b", "--endpoint-target-ports=1,2,3,4,5,6,7,8,9"],
        "--endpoint-target-ports: expected 1 to 8 ports, such as 8000, got 9",
    ),
    "ports of a pool": (["--pool-name=a", "--endpoint-target-ports=1"], "--endpoint-target-ports: goes with"),
    "selector": (["--endpoint-selector=a in"], "--endpoint-selector: label selector, character 5: "),
    "name": (["--pool-name=A"], "--pool-name: expected the name of an InferencePool, got 'A'"),
    "namespace": (["--pool-name=a", "--pool-namespace=a.b"], "--pool-namespace: expected a namespace"),
    "group": (["--pool-name=a", "--pool-group=x"], "--pool-group: expected inference.networking.k8s.io or "),
    "two configurations": (
        ["--pool-name=a", "--config-file=f", "--config-text=t"],
        "--config-text: does not go with --config-file",
    ),
    "conformance beside a file": (
        ["--pool-name=a", "--config-file=f", "--conformance"],
        "--conformance: does not go with --config-file; declare header-based-testing-filter there",
    ),
    "conformance beside a text": (
        ["--pool-name=a", "--config-text=t", "--conformance"],
        "--conformance: does not go with --config-text",
    ),
    "interval": (
        ["--pool-name=a", "--refresh-metrics-interval=1ms"],
        "--refresh-metrics-interval: expected 0.01 s to 15 s, got 0.001 s",
    ),
    "staleness": (
        ["--pool-name=a", "--refresh-metrics-interval=2s"],
        "--metrics-staleness-threshold: expected at least 2 × --refresh-metrics-interval (4 s), got 2 s",
    ),
    "drain": (["--pool-name=a", "--drain-timeout=25h"], "--drain-timeout: expected at most 86400 s, got 90000 s"),
    "one port twice": (["--pool-name=a", "--metrics-port=9003"], "--metrics-port: 9003 is also --grpc-health-port"),
    "TLS version": (["--pool-name=a", "--tls-min-version=1.1"], "--tls-min-version: expected VersionTLS12 or"),
    "TLS 1.3 alone": (["--pool-name=a", "--tls-min-version=1.3"], "--tls-min-version: goes with --cert-path"),
    "encoder": (["--pool-name=a", "--zap-encoder=xml"], "--zap-encoder: expected json or console, got 'xml'"),
    "level": (["--pool-name=a", "--zap-log-level=loud"], "--zap-log-level: expected debug, info, error or a number"),
    "verbosity": (["--pool-name=a", "-v=x"], "--v: expected a whole number from 0 to 1000, got 'x'"),
    "an idle boolean": (["--pool-name=a", "--enable-pprof=2"], "--enable-pprof: expected true or false, got '2'"),
    "an idle duration": (
        ["--pool-name=a", "--refresh-prometheus-metrics-interval=5"],
        "--refresh-prometheus-metrics-interval: expected a duration",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_by_name(arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match="^" + re.escape(said)) as caught:
        translated(*arguments)
    assert len(str(caught.value).splitlines()) == 1


def test_several_kubeconfigs_in_the_variable_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--kubeconfig: the variable KUBECONFIG names several files"):
        translated("--pool-name=a", environment={"KUBECONFIG": "/a:/b"})


@pytest.mark.parametrize("name", ["endpoint-selector", "endpoint-target-ports"])
def test_a_file_goes_without_selectors(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--{name}: does not go with file-discovery \(epp.yaml:4\)"):
        translated(f"--{name}=8000", source=FILE)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([flag.name for flag in FLAGS]),
            st.one_of(st.text(max_size=8), st.sampled_from(["true", "false", "1s", "8000", "a=b", "1.3"])),
        ),
        max_size=5,
    ),
    st.booleans(),
)
def test_any_flags_are_a_configuration_or_one_line_that_names_one(chosen: list[tuple[str, str]], by_file: bool) -> None:
    problem = "--flag: it is a configuration"
    try:
        translated(*(f"--{name}={value}" for name, value in chosen), source=FILE if by_file else None)
    except ConfigError as error:
        problem = str(error)
    assert problem.startswith("--")
    assert len(problem.splitlines()) == 1


# The table


def test_the_documentation_has_every_flag_as_it_is() -> None:
    text = (ROOT / "docs" / "reference-command-line.md").read_text()
    rows = re.findall(r"^\| `--([a-z-]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| (.+) \|$", text, re.MULTILINE)
    assert rows == [
        (flag.name, flag.form.value, flag.default or "none", flag.treatment.value, flag.effect) for flag in FLAGS
    ]


def test_every_flag_is_there_once() -> None:
    assert len({flag.name for flag in FLAGS}) == len(FLAGS)


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.treatment is Treatment.ONLY_FALSE], ids=str)
def test_what_is_refused_when_true_is_a_boolean(flag: reference_flags.ReferenceFlag) -> None:
    assert flag.form is Form.BOOLEAN


VALUES = {form: "1" for form in Form} | {Form.BOOLEAN: "false", Form.DURATION: "1s"}


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.treatment is Treatment.WITHOUT_EFFECT], ids=str)
def test_a_flag_without_effect_has_none(flag: reference_flags.ReferenceFlag) -> None:
    assert of_chat(f"--{flag.name}={VALUES[flag.form]}") == of_chat()


def test_defaults_are_the_reference_s() -> None:
    honoured = [
        f"--{flag.name}={flag.default}" for flag in FLAGS if flag.default and flag.treatment is Treatment.HONOURED
    ]
    assert of_chat(*honoured) == of_chat()


def test_every_address_may_be_those_of_ipv6_too() -> None:
    found = translate(reference_flags.read(["--pool-name=chat"]), IN_CLUSTER, None, "::").config
    hosts = {found.picker.listen.host, found.telemetry.listen.host}
    assert found.picker.health_listen is not None
    assert hosts | {found.picker.health_listen.host} == {"::"}
