import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.config.declared_objects import DeclaredPool, DeclaredWorkload
from infscale.config.explain_settings import ExplainSettings
from infscale.config.fallback_settings import FallbackSettings
from infscale.config.flow_control_settings import FlowControlSettings
from infscale.config.read import DIALECT_NAMES, load_config, read_config
from infscale.config.record_settings import RecordSettings
from infscale.config.settings import (
    AdapterSettings,
    DiscoverySettings,
    FormulaSettings,
    ForwardSettings,
    KedaSettings,
    KedaTlsFiles,
    KubernetesDiscoverySettings,
    KubernetesSettings,
    ListenAddress,
    LogSettings,
    PickerSettings,
    PickerTlsFiles,
    PoolOverrides,
    ScrapeSettings,
    ServeConfig,
    TelemetrySettings,
    TlsFiles,
)
from infscale.config.shadow_settings import ShadowSettings, SkipSettings
from infscale.documents.section import keys_of
from infscale.documents.strict_document import Plain, from_plain, load
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError, ConfigErrors
from infscale.metrics.gauges import EngineGauges
from infscale.metrics.pages.written_dialects import NOT_GIVEN, EngineNames
from infscale.metrics.published.catalogue import Aggregation
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from infscale.prometheus.prometheus_settings import AdapterRulesSettings, PrometheusSettings
from infscale.prometheus.query_settings import QueryLabels, QuerySettings
from infscale.prometheus.server_settings import BasicAuth, ServerSettings
from infscale.scrape.tls_trust import PageCertificates
from infscale.sources.exporter import ExporterKind, ExporterSettings
from infscale.sources.gpu_kinds import DCGM_KIND, GPU_KINDS
from infscale.sources.grpc_health import GrpcHealthSettings, HealthTls
from infscale.sources.known_sources import SOURCES
from infscale.sources.source_kind import ExporterPods

ROOT = Path(__file__).parents[2]
BASE = Path("/etc/infscale")
MINIMAL = "discovery: {file: discovery.yaml}\n"


def read(text: str) -> ServeConfig:
    return read_config(load(dedent(text), "serve.yaml"), BASE)


def test_only_the_discovery_file_is_required() -> None:
    assert read(MINIMAL) == ServeConfig(DiscoverySettings(BASE / "discovery.yaml"))


def test_the_external_scaler_is_there_where_its_section_is() -> None:
    assert read(MINIMAL).keda is None
    assert read(MINIMAL + "keda: {}").keda == KedaSettings()
    assert read(MINIMAL + "keda: {max_streams: 5}").keda == KedaSettings(max_streams=5, max_peer_streams=5)
    text = """
        discovery: {file: x}
        keda:
          listen: "[::]:7000"
          tls: {certificate: tls.crt, key: tls.key, client_ca: ca.crt}
          activation_seconds: 60
          other_namespaces: true
          max_streams: 20
          max_peer_streams: 10
        """
    tls = KedaTlsFiles(BASE / "tls.crt", BASE / "tls.key", BASE / "ca.crt")
    assert read(text).keda == KedaSettings(ListenAddress("::", 7000), tls, 60.0, True, 20, 10)


def test_every_key_can_be_given() -> None:
    text = """
        discovery: {file: /run/endpoints.json, poll_interval_seconds: 1, default_pool: prod/chat, watch: false}
        kubernetes: {kubeconfig: admin.kubeconfig, context: prod}
        scrape:
          interval_seconds: 1
          timeout_seconds: 0.5
          staleness_limit_seconds: 5
          max_page_bytes: 1024
          dialect: sglang
          scheme: https
          path: /prometheus/metrics
          port: 9100
          verify_tls: false
          engine_label: engine
          model_lists: true
          dialects:
          - name: acme
            like: vllm
            waiting: q{state=waiting}
            running: r
            kv_utilization: k
            kv_used_tokens: u
            waiting_tokens: w
            lora: ""
            cache_info: c
            block_size_label: page
            num_blocks_label: pages
            block_size: b
            num_blocks: n
            model_label: model
            histograms: {queue_time: h}
            counters: {preemptions: p}
        dcgm:
          targets: ["http://10.0.0.1:9400/metrics", "https://[fd00::1]/m"]
          interval_seconds: 30
          timeout_seconds: 3
        pools:
          prod/chat:
            staleness_limit_seconds: 3
            window_seconds: 60
            saturation:
              kind: hybrid
              queue_depth_threshold: 1
              kv_utilization_threshold: 1
              max_in_flight_requests: 7
              max_in_flight_tokens: 900.5
        metrics:
        - {name: pressure_ratio, formula: waiting_requests / 3, unit: ratio, meaning: how full, aggregation: mean}
        picker:
          listen: 0.0.0.0:9102
          health_listen: "[::]:9103"
          pool: prod/chat
          config_file: picker.yaml
          error_format: reference
          max_body_bytes: 2048
          max_buffered_bytes: 4096
          body_timeout_seconds: 5
          max_connections: 20
          max_peer_connections: 10
          destinations: 8
          unknown_models: reject
          unknown_load: refuse
          emit_endpoint_scores: true
          tls: {certificate: tls/picker.crt, key: /run/picker.key, reload: true, min_version: "1.3"}
          drain_timeout_seconds: 0
          drain_notice_seconds: 2
          subset_hints: false
          trusted_headers: [x-llm-d-inference-pool]
          unknown_objectives: default
          record: {file: requests.jsonl, max_bytes: 1000000}
          ready_without_endpoints: true
          any_health_service: true
          transport: grpc_aio
        adapter:
          listen: 0.0.0.0:443
          service: metrics/adapter
          tls: {certificate: a.crt, key: a.key}
          ca: ca.crt
          max_in_flight: 7
        telemetry: {listen: "localhost:0"}
        log: {level: debug, format: json}
        """
    saturation = SaturationSettings(SaturationKind.HYBRID, 1, 1, 7, 900.5)
    acme = EngineNames(
        name="acme",
        like="vllm",
        gauges=NOT_GIVEN._replace(
            waiting="q{state=waiting}", running="r", kv_utilization="k", kv_used_tokens="u", waiting_tokens="w"
        ),
        lora="",
        cache_info="c",
        block_size_label="page",
        num_blocks_label="pages",
        block_size="b",
        num_blocks="n",
        model_label="model",
        histograms={"queue_time": "h"},
        counters={"preemptions": "p"},
    )
    assert read(text) == ServeConfig(
        discovery=DiscoverySettings(Path("/run/endpoints.json"), None, 1, ObjectKey("prod", "chat"), watch=False),
        kubernetes=KubernetesSettings(BASE / "admin.kubeconfig", "prod"),
        scrape=ScrapeSettings(
            1, 0.5, 5, 1024, "sglang", "https", "/prometheus/metrics", "auto", 9100, False, "engine", (acme,), True
        ),
        sources={
            **{kind.key: kind.default() for kind in SOURCES},
            "dcgm": ExporterSettings(DCGM_KIND, ("http://10.0.0.1:9400/metrics", "https://[fd00::1]/m"), None, 30, 3),
        },
        pools={ObjectKey("prod", "chat"): PoolOverrides(3, 60, saturation, "serve.yaml:42")},
        metrics=(FormulaSettings("pressure_ratio", "waiting_requests / 3", "ratio", "how full", Aggregation.MEAN),),
        picker=PickerSettings(
            listen=ListenAddress("0.0.0.0", 9102),
            health_listen=ListenAddress("::", 9103),
            pool=ObjectKey("prod", "chat"),
            preset=None,
            config_file=BASE / "picker.yaml",
            error_format="reference",
            max_body_bytes=2048,
            max_buffered_bytes=4096,
            body_timeout_seconds=5,
            max_connections=20,
            max_peer_connections=10,
            destinations=8,
            unknown_models="reject",
            unknown_load="refuse",
            emit_endpoint_scores=True,
            tls=PickerTlsFiles(BASE / "tls/picker.crt", Path("/run/picker.key"), True, "1.3"),
            drain_timeout_seconds=0,
            drain_notice_seconds=2,
            subset_hints=False,
            trusted_headers=("x-llm-d-inference-pool",),
            unknown_objectives="default",
            record=RecordSettings(BASE / "requests.jsonl", 1_000_000),
            ready_without_endpoints=True,
            any_health_service=True,
            transport="grpc_aio",
        ),
        adapter=AdapterSettings(
            ListenAddress("0.0.0.0", 443),
            ObjectKey("metrics", "adapter"),
            TlsFiles(BASE / "a.crt", BASE / "a.key"),
            BASE / "ca.crt",
            7,
        ),
        telemetry=TelemetrySettings(ListenAddress("localhost", 0)),
        log=LogSettings("debug", "json"),
    )


def test_following_a_cluster_means_the_one_it_runs_in() -> None:
    config = read("""
        discovery: {kubernetes: {namespaces: [llm, batch], write_status: false}}
        dcgm: {pods: {namespace: gpu-operator, labels: {app: dcgm}, port: 9401}}
        """)
    assert config.kubernetes == KubernetesSettings()
    assert config.discovery.kubernetes == KubernetesDiscoverySettings(("llm", "batch"), write_status=False)
    assert config.sources["dcgm"].pods == ExporterPods("gpu-operator", {"app": "dcgm"}, 9401)


def test_a_file_may_be_followed_in_a_cluster() -> None:
    config = read(MINIMAL + "kubernetes: {}\nadapter: {listen: 0.0.0.0:6443}")
    assert config.kubernetes == KubernetesSettings()
    assert config.discovery.kubernetes is None


def test_a_dialect_of_ones_own_can_be_the_default() -> None:
    scrape = read(MINIMAL + "scrape: {dialect: acme, dialects: [{name: acme, waiting: q}]}").scrape
    default = scrape.engines().default
    assert default is not None
    assert (default.name, default.names) == ("acme", ("q", "process_start_time_seconds"))


def test_an_unknown_section_is_refused_with_what_may_be_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        read("discovery: {file: x}\npicer: {}")
    assert str(caught.value).startswith("serve.yaml:2: picer: unknown key; expected one of ")
    assert str(caught.value).endswith("; did you mean picker?")


def test_a_preset_can_be_named() -> None:
    assert read(MINIMAL + "picker: {preset: reference}").picker.preset == "reference"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ca: ca.pem, verify_tls: false, targets: ['https://a/']}", "dcgm.ca: without verify_tls any certificate"),
        ("{certificate: a.pem, targets: ['https://a/']}", "dcgm.certificate: goes with key: give both"),
        ("{key: a.pem, targets: ['https://a/']}", "dcgm.key: goes with certificate: give both"),
        ("{token_file: t, targets: ['https://a/', 'http://b/']}", "dcgm.token_file: a token is sent over https alone"),
        ("{token_file: t, pods: {namespace: g, labels: {a: b}}}", "dcgm.token_file: a token is sent over https alone"),
        ("{pods: {namespace: g, labels: {a: b}, scheme: ftp}}", "dcgm.pods.scheme: expected one of http, https"),
    ],
)
def test_a_token_and_certificates_go_with_https(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(f"discovery: {{kubernetes: {{}}}}\ndcgm: {text}")


def test_every_section_of_exporters_takes_what_https_needs() -> None:
    for kind in GPU_KINDS:
        text = f"{kind.key}: {{targets: ['https://a/'], ca: ca.pem, certificate: c.pem, key: k.pem, token_file: t}}"
        settings = read(MINIMAL + text).sources[kind.key]
        assert isinstance(settings, ExporterSettings)
        client = (BASE / "c.pem", BASE / "k.pem")
        assert settings.certificates == PageCertificates(BASE / "ca.pem", client, None, BASE / "t")
        assert kind.default().certificates is None


@pytest.mark.parametrize("section", ["scrape", "dcgm"])
def test_a_timeout_that_is_not_given_follows_the_interval(section: str) -> None:
    config = read(MINIMAL + f"{section}: {{interval_seconds: 0.1}}")
    settings = config.scrape if section == "scrape" else config.sources[section]
    assert isinstance(settings, ScrapeSettings | ExporterSettings)
    assert settings.timeout_seconds == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "serve.yaml:1: key 'discovery' is missing"),
        (
            MINIMAL + "scrape:\n  dialects:\n  - {name: a, waiting: 'q{a}'}",
            "serve.yaml:4: scrape.dialects[0].waiting: labels of a metric spec are written label=value, separated by "
            "commas, each once, got 'q{a}'",
        ),
        (
            MINIMAL + "scrape: {dialects: [{name: a}]}",
            "serve.yaml:2: scrape.dialects[0]: a dialect says how many requests wait or run: give waiting or running",
        ),
        (
            MINIMAL + "scrape: {dialects: [{name: a, waiting: q}, {name: a, waiting: q}]}",
            "serve.yaml:2: scrape.dialects[1]: there is already a dialect 'a'",
        ),
        (
            MINIMAL + "scrape: {dialects: [{name: auto, waiting: q}]}",
            "serve.yaml:2: scrape.dialects[0].name: 'auto' means that the dialect is found out; choose another name",
        ),
        (
            MINIMAL + "scrape: {dialects: [{name: a, waiting: q, histograms: {wait: q}}]}",
            "serve.yaml:2: scrape.dialects[0].histograms.wait: unknown key; expected one of inter_token_latency, "
            "prefill_time, queue_time, request_latency, time_to_first_token",
        ),
        (
            MINIMAL + "scrape: {dialect: b, dialects: [{name: a, waiting: q}]}",
            "serve.yaml:2: scrape.dialect: expected one of auto, vllm, sglang, trtllm-serve, triton-tensorrt-llm, "
            "triton, tgi, llamacpp, lmdeploy, a, got 'b'",
        ),
        (
            MINIMAL + "metrics: [{name: a, formula: waiting_request + 1}]",
            "serve.yaml:2: metrics[0]: a: waiting_request is no published metric, did you mean waiting_requests?",
        ),
        (
            MINIMAL + "metrics: [{name: saturation_ratio, formula: waiting_requests, unit: ratio}]",
            "serve.yaml:2: metrics[0]: saturation_ratio: there is a metric of that name, choose another",
        ),
        ("discovery: {}", "serve.yaml:1: discovery: give file or kubernetes: where endpoints come from"),
        (
            "discovery: {file: x, kubernetes: {}}",
            "serve.yaml:1: discovery.file: give either file or kubernetes, not both",
        ),
        (
            "discovery: {kubernetes: {}, default_pool: a/b}",
            "serve.yaml:1: discovery.default_pool: goes with file, not with kubernetes",
        ),
        (
            "discovery: {kubernetes: {namespaces: []}}",
            "serve.yaml:1: discovery.kubernetes.namespaces: expected at least one namespace; leave the key out to "
            "follow all",
        ),
        (
            "discovery: {kubernetes: {}}\nkubernetes: {context: prod}",
            "serve.yaml:2: kubernetes.context: a context is one of a kubeconfig: give that too",
        ),
        (
            "discovery: {file: x}\ndcgm: {pods: {namespace: gpu, labels: {a: b}}}",
            "serve.yaml:2: dcgm.pods: pods are found with discovery.kubernetes only; list targets",
        ),
        (
            "discovery: {kubernetes: {}}\nadapter: {ca: ca.crt}",
            "serve.yaml:2: adapter.ca: goes with a given certificate (tls); the adapter writes its own CA by itself",
        ),
        (
            "discovery: {file: x}\nadapter: {ca: ca.crt}",
            "serve.yaml:2: adapter.ca: there is no cluster to write it to; configure kubernetes",
        ),
        ("discovery: {file: 1}", "serve.yaml:1: discovery.file: expected a string, got a number; put it in quotes"),
        (
            "discovery: {file: x, default_pool: chat}",
            "serve.yaml:1: discovery.default_pool: expected namespace/name, such as default/chat, got 'chat'",
        ),
        (
            "discovery: {file: x}\npicer: {}",
            "serve.yaml:2: picer: unknown key; expected one of picker, discovery, adapter, grpc_health, "
            "scrape, metrics, telemetry, kubernetes, prometheus, dcgm … (17 in all); did you mean picker?",
        ),
        (
            MINIMAL + "keda: {listen: '127.0.0.1:9002'}",
            "serve.yaml:2: keda.listen: 127.0.0.1:9002 is also picker.listen; give each its own port",
        ),
        (
            MINIMAL + "keda: {max_streams: 10, max_peer_streams: 11}",
            "serve.yaml:2: keda.max_peer_streams: is more than max_streams, 10",
        ),
        (
            MINIMAL + "keda: {activation_seconds: 0}",
            "serve.yaml:2: keda.activation_seconds: expected more than 0, got 0",
        ),
        (MINIMAL + "keda: {tls: {certificate: x}}", "serve.yaml:2: keda.tls: key 'key' is missing"),
        (
            MINIMAL + "scrape: {interval: 1}",
            "serve.yaml:2: scrape.interval: unknown key; expected one of interval_seconds, engine_label, "
            "dialect, dialects, verify_tls, model_lists, staleness_limit_seconds, max_page_bytes, timeout_seconds, "
            "path … (13 in all); did you mean interval_seconds?",
        ),
        (
            MINIMAL + "scrape: {interval_seconds: 50ms}",
            "serve.yaml:2: scrape.interval_seconds: expected a number of seconds, such as 0.5, got '50ms'; write 0.05",
        ),
        (
            MINIMAL + "scrape: {interval_seconds: 0}",
            "serve.yaml:2: scrape.interval_seconds: expected at least 0.01, got 0",
        ),
        (
            MINIMAL + "scrape: {interval_seconds: .nan}",
            "serve.yaml:2: scrape.interval_seconds: expected a finite number in plain decimal, got '.nan'",
        ),
        (
            MINIMAL + "scrape: {interval_seconds: 2, staleness_limit_seconds: 3}",
            "serve.yaml:2: scrape.staleness_limit_seconds: the staleness limit of 3 s is less than 2 × the scrape "
            "interval of 2 s: one late scrape would make every value unusable",
        ),
        (
            MINIMAL + "scrape: {interval_seconds: 16, staleness_limit_seconds: 40}",
            "serve.yaml:2: scrape.interval_seconds: the window of 30 s is less than 2 × the scrape interval of 16 s: "
            "it would never hold two scrapes, which every rate needs",
        ),
        (
            MINIMAL + "pools: {default/a: {window_seconds: 0.9}}",
            "serve.yaml:2: pools['default/a'].window_seconds: the window of 0.9 s is less than 2 × the scrape interval "
            "of 0.5 s: it would never hold two scrapes, which every rate needs",
        ),
        (
            MINIMAL + "dcgm: {interval_seconds: 46}",
            "serve.yaml:2: dcgm.interval_seconds: expected at most 45, got 46: GPU values are used for 90 s",
        ),
        (
            MINIMAL + "scrape: {interval_seconds: 2}",
            "serve.yaml:2: scrape.interval_seconds: the staleness limit of 2 s is less than 2 × the scrape "
            "interval of 2 s: one late scrape would make every value unusable",
        ),
        (
            MINIMAL + "pools: {default/a: {staleness_limit_seconds: 0.9}}",
            "serve.yaml:2: pools['default/a'].staleness_limit_seconds: the staleness limit of 0.9 s is less than 2 × "
            "the scrape interval of 0.5 s: one late scrape would make every value unusable",
        ),
        (
            MINIMAL + "scrape: {timeout_seconds: 0.5}",
            "serve.yaml:2: scrape.timeout_seconds: expected less than interval_seconds (0.5), got 0.5",
        ),
        (
            MINIMAL + "scrape: {timeout_seconds: 0}",
            "serve.yaml:2: scrape.timeout_seconds: expected more than 0, got 0",
        ),
        (
            MINIMAL + "scrape: {dialect: ollama}",
            "serve.yaml:2: scrape.dialect: expected one of auto, vllm, sglang, trtllm-serve, triton-tensorrt-llm, "
            "triton, tgi, llamacpp, lmdeploy, got 'ollama'; did you mean llamacpp?",
        ),
        (
            MINIMAL + "scrape: {path: metrics}",
            "serve.yaml:2: scrape.path: expected a path such as /metrics, got 'metrics'",
        ),
        (
            MINIMAL + "scrape: {processes: many}",
            "serve.yaml:2: scrape.processes: expected one of auto, got 'many'",
        ),
        (
            MINIMAL + "scrape: {max_page_bytes: 10}",
            "serve.yaml:2: scrape.max_page_bytes: expected at least 1024, got 10",
        ),
        (MINIMAL + "dcgm: {targets: http://a}", "serve.yaml:2: dcgm.targets: expected a list, got a string"),
        *(
            (
                MINIMAL + f"dcgm: {{targets: ['{url}']}}",
                f"serve.yaml:2: dcgm.targets[0]: expected an address such as http://10.0.0.1:9400/metrics, got '{url}'",
            )
            for url in ("10.0.0.1:9400", "ftp://a/", "http://", "http://a:99999/", "http://a b/", "http://[::1/")
        ),
        (
            MINIMAL + "dcgm: {targets: ['http://a/', 'http://a/']}",
            "serve.yaml:2: dcgm.targets[1]: 'http://a/' is given twice",
        ),
        (
            MINIMAL + "dcgm: {timeout_seconds: 10}",
            "serve.yaml:2: dcgm.timeout_seconds: expected less than interval_seconds (10), got 10",
        ),
        (
            MINIMAL + "pools: {chat: {}}",
            "serve.yaml:2: pools.chat: expected namespace/name, such as default/chat, got 'chat'",
        ),
        (
            MINIMAL + "pools: {default/a: {saturation: {kind: queue}}}",
            "serve.yaml:2: pools['default/a'].saturation.kind: expected one of utilization, requests, tokens, hybrid, "
            "got 'queue'",
        ),
        (
            MINIMAL + "pools: {default/a: {saturation: {queue_depth_threshold: 0}}}",
            "serve.yaml:2: pools['default/a'].saturation.queue_depth_threshold: expected more than 0, got 0",
        ),
        (
            MINIMAL + "pools: {default/a: {saturation: {kv_utilization_threshold: 80}}}",
            "serve.yaml:2: pools['default/a'].saturation.kv_utilization_threshold: expected at most 1, got 80",
        ),
        (
            MINIMAL + "pools: {default/a: {saturation_place: x}}",
            "serve.yaml:2: pools['default/a'].saturation_place: unknown key; "
            "expected one of saturation, staleness_limit_seconds, window_seconds; did you mean saturation?",
        ),
        *(
            (
                MINIMAL + f"picker: {{listen: '{address}'}}",
                "serve.yaml:2: picker.listen: expected address:port, such as 127.0.0.1:9002 or [::1]:9002, "
                f"got '{address}'",
            )
            for address in (
                "9002",
                ":9002",
                "example.com:9002",
                "127.0.0.1",
                "127.0.0.1:65536",
                "127.0.0.1:http",
                "127.0.0.1:09002",
                "::1:9002",
                "[127.0.0.1]:9002",
                "[localhost]:9002",
                "[]:1",
                "127.0.0.1:9002 ",
            )
        ),
        (
            MINIMAL + "picker: {preset: best}",
            "serve.yaml:2: picker.preset: "
            "expected one of infscale, in-flight-tokens, reference, sticky-until-saturated, lmetric, legacy-v0.3, "
            "conformance, got 'best'",
        ),
        (
            MINIMAL + "picker:\n  config_file: x\n  preset: infscale",
            "serve.yaml:4: picker.preset: give either preset or config_file, not both",
        ),
        (
            MINIMAL + "picker: {trusted_headers: [x-original-path, x-original-path]}",
            "serve.yaml:2: picker.trusted_headers[1]: 'x-original-path' is given twice",
        ),
        (
            MINIMAL + "picker: {max_body_bytes: 4096, max_buffered_bytes: 2048}",
            "serve.yaml:2: picker.max_buffered_bytes: is less than max_body_bytes, 4096: no such body could be taken",
        ),
        (MINIMAL + "picker: {destinations: 9}", "serve.yaml:2: picker.destinations: expected at most 8, got 9"),
        (MINIMAL + "picker: {tls: {certificate: x}}", "serve.yaml:2: picker.tls: key 'key' is missing"),
        (MINIMAL + "picker: {record: {}}", "serve.yaml:2: picker.record: key 'file' is missing"),
        (
            MINIMAL + "picker: {explain: {picks: 0, file: picks.jsonl}}",
            "serve.yaml:2: picker.explain.file: picks is 0: there is nothing to explain",
        ),
        (
            MINIMAL + "picker: {record: {file: a, max_bytes: 9}}",
            "serve.yaml:2: picker.record.max_bytes: expected at least 65536, got 9",
        ),
        (MINIMAL + 'picker: {config_file: "a\\0b"}', "serve.yaml:2: picker.config_file: expected the path of a file"),
        (
            MINIMAL + "adapter: {listen: '0.0.0.0:6443'}",
            "serve.yaml:2: adapter.listen: expected a loopback address, such as 127.0.0.1:6443, got 0.0.0.0:6443: "
            "without Kubernetes the callers of the adapter are not checked",
        ),
        (
            MINIMAL + "telemetry: {listen: '[::]:9090'}",
            "serve.yaml:2: telemetry.listen: expected a loopback address, such as 127.0.0.1:9090, got [::]:9090: "
            "/debug/snapshot answers anyone who can connect",
        ),
        (
            MINIMAL + "adapter: {listen: '127.0.0.1:9002'}",
            "serve.yaml:2: adapter.listen: 127.0.0.1:9002 is also picker.listen; give each its own port",
        ),
        (
            MINIMAL + "log: {level: trace}",
            "serve.yaml:2: log.level: expected one of debug, info, warning, error, got 'trace'",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == message


def test_any_number_of_servers_may_ask_for_any_free_port() -> None:
    read(MINIMAL + "adapter: {listen: '127.0.0.1:0'}\ntelemetry: {listen: '127.0.0.1:0'}")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert ListenAddress(host, 1).is_loopback is expected


def test_a_pool_is_judged_by_the_most_particular_that_is_said() -> None:
    config = read(
        MINIMAL
        + """\
scrape: {staleness_limit_seconds: 4}
pools:
  default/a: {window_seconds: 10, saturation: {queue_depth_threshold: 9}}
  default/b: {staleness_limit_seconds: 8}
"""
    )
    assert config.pool_settings(ObjectKey("default", "a")) == PoolSettings(
        4, 10, SaturationSettings(queue_depth_threshold=9)
    )
    assert config.pool_settings(ObjectKey("default", "b")) == PoolSettings(8)
    assert config.pool_settings(ObjectKey("default", "c")) == PoolSettings(4)


def test_defaults_are_those_of_the_store() -> None:
    assert read(MINIMAL).pool_settings(ObjectKey("default", "default")) == PoolSettings()


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(MINIMAL)
    (tmp_path / "discovery.yaml").write_text("")
    assert load_config(path).discovery.file == tmp_path / "discovery.yaml"


def test_a_file_that_is_not_there_is_named_with_the_keys_that_refer_to_it(tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(
        MINIMAL + "picker:\n  config_file: epp.yaml\n  tls: {certificate: tls.crt, key: tls.key, client_ca: ca.crt}\n"
        "kubernetes: {kubeconfig: admin.conf}\nadapter: {tls: {certificate: a.crt, key: tls.key}, ca: a.ca}\n"
    )
    (tmp_path / "tls.key").write_text("")
    with pytest.raises(ConfigErrors) as caught:
        load_config(path)
    assert caught.value.lines() == tuple(
        f"{path}:{line}: {key}: {tmp_path / name} cannot be read: No such file or directory"
        for line, key, name in (
            (1, "discovery.file", "discovery.yaml"),
            (3, "picker.config_file", "epp.yaml"),
            (4, "picker.tls.certificate", "tls.crt"),
            (4, "picker.tls.client_ca", "ca.crt"),
            (5, "kubernetes.kubeconfig", "admin.conf"),
            (6, "adapter.tls.certificate", "a.crt"),
            (6, "adapter.ca", "a.ca"),
        )
    )


def test_everything_that_is_wrong_is_said_at_once_in_the_order_of_the_lines() -> None:
    text = """\
discovery:
  file: discovery.yaml
  watch: maybe
scrape:
  interval_seconds: fast
  timeout_seconds: 500ms
  staleness_limit_seconds: 0.1
  intervall: 3
  dialects: [{nam: x}, {name: auto, waiting: 5}]
  dialect: x
pools:
  chat: {window_seconds: 0.2, saturation: {kind: full, queue_depth_threshold: 0}}
  default/chat: {window_seconds: 0.2}
picker:
  listen: 9002
  transport: http3
  tls: {certificate: c, min_version: 1.1}
telemetry: {listen: 0.0.0.0:9090}
log: {level: warn}
"""
    with pytest.raises(ConfigErrors) as caught:
        read(text)
    assert [(each.place.partition(":")[2], each.path) for each in caught.value.problems] == [
        ("3", "discovery.watch"),
        ("5", "scrape.interval_seconds"),
        ("6", "scrape.timeout_seconds"),
        ("8", "scrape.intervall"),
        ("9", "scrape.dialects[0].nam"),
        ("9", "scrape.dialects[1].name"),
        ("9", "scrape.dialects[1].waiting"),
        ("12", "pools.chat"),
        ("12", "pools.chat.saturation.kind"),
        ("12", "pools.chat.saturation.queue_depth_threshold"),
        ("15", "picker.listen"),
        ("16", "picker.transport"),
        ("17", "picker.tls"),
        ("17", "picker.tls.min_version"),
        ("18", "telemetry.listen"),
        ("19", "log.level"),
    ]
    assert caught.value.lines()[10] == (
        "serve.yaml:15: picker.listen: expected address:port, such as 127.0.0.1:9002 or [::1]:9002, got a number"
    )
    assert caught.value.lines()[-1].endswith(
        "expected one of debug, info, warning, error, got 'warn'; did you mean warning?"
    )
    assert str(caught.value).endswith("(and 15 more problems)")


def test_nothing_is_concluded_from_a_value_that_is_refused() -> None:
    """Of one mistake one thing is said, also where other values are judged by it."""
    with pytest.raises(ConfigError) as caught:
        read(
            MINIMAL + "scrape: {interval_seconds: 5s, staleness_limit_seconds: 12}\npools: {a/b: {window_seconds: 0.5}}"
        )
    assert caught.value.lines() == (
        "serve.yaml:2: scrape.interval_seconds: expected a number of seconds, such as 0.5, got '5s'; write 5",
    )


@given(st.lists(st.sampled_from(["watch: 1", "poll_interval_seconds: -1", "default_pool: x"]), unique=True))
def test_as_many_problems_are_said_as_there_are(wrong: list[str]) -> None:
    text = f"discovery: {{file: x, {', '.join(wrong)}}}"
    if not wrong:
        read(text)
        return
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert len(caught.value.lines()) == len(wrong)


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"serve.yaml: cannot be read: No such file or directory$"):
        load_config(tmp_path / "serve.yaml")
    (tmp_path / "serve.yaml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"serve.yaml: not UTF-8 text: byte 1$"):
        load_config(tmp_path / "serve.yaml")


def test_the_example_is_a_configuration_for_the_example_discovery_file() -> None:
    path = ROOT / "manifests" / "examples" / "serve.yaml"
    discovery = path.parent / "discovery.yaml"
    assert load_config(path).discovery.file == discovery
    assert discovery.exists()


SECTIONS: dict[str, type[Any]] = {
    "kubernetes": KubernetesSettings,
    "discovery": DiscoverySettings,
    "discovery.kubernetes": KubernetesDiscoverySettings,
    "discovery.kubernetes.pools[]": DeclaredPool,
    "discovery.kubernetes.workloads[]": DeclaredWorkload,
    "scrape": ScrapeSettings,
    "scrape.dialects[]": EngineNames,
    # The sections of other exporters are as this one.
    "dcgm": ExporterSettings,
    "dcgm.pods": ExporterPods,
    "node_agent": ExporterSettings,
    "node_agent.pods": ExporterPods,
    "grpc_health": GrpcHealthSettings,
    "grpc_health.tls": HealthTls,
    "pools.<pool>": PoolOverrides,
    "metrics[]": FormulaSettings,
    "pools.<pool>.saturation": SaturationSettings,
    "picker": PickerSettings,
    "picker.tls": PickerTlsFiles,
    "picker.record": RecordSettings,
    "picker.flow_control": FlowControlSettings,
    "picker.explain": ExplainSettings,
    "picker.fallback.<pool>[]": FallbackSettings,
    "picker.shadow.<pool>[]": ShadowSettings,
    "picker.shadow.<pool>[].skip": SkipSettings,
    "adapter": AdapterSettings,
    "adapter.tls": TlsFiles,
    "adapter.forward": ForwardSettings,
    "keda": KedaSettings,
    "keda.tls": KedaTlsFiles,
    "telemetry": TelemetrySettings,
    "log": LogSettings,
    "prometheus": PrometheusSettings,
    "prometheus.servers.<server>": ServerSettings,
    "prometheus.servers.<server>.basic_auth": BasicAuth,
    "prometheus.adapter_rules": AdapterRulesSettings,
    "prometheus.queries[]": QuerySettings,
    "prometheus.queries[].labels": QueryLabels,
}


def shown(default: object) -> str:
    if default is MISSING:
        return "required"
    if default in {None, (), ""}:
        return "none"
    if isinstance(default, SaturationKind | Aggregation):
        return default.value
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:.12g}" if isinstance(default, float) else str(default)


def keys() -> Iterator[tuple[str, str]]:
    for prefix, settings in SECTIONS.items():
        defaults = {each.name: each.default for each in fields(settings)}
        if settings is ExporterPods:
            kind = next(each for each in SOURCES if prefix == f"{each.key}.pods")
            assert isinstance(kind, ExporterKind)
            defaults["port"] = kind.port
        for key in keys_of(settings):
            if key in EngineGauges._fields:
                continue
            if f"{prefix}.{key}" not in SECTIONS:
                yield f"{prefix}.{key}", shown(defaults[key])
    # Gauges have a table of their own, in docs/metrics.md.
    yield "scrape.dialects[].<gauge>", "none"


def test_the_documentation_has_every_key_with_its_default() -> None:
    table = (ROOT / "docs" / "configuration.md").read_text()
    documented = re.findall(r"^\| `([a-z_.<>\[\]]+\.[a-z0-9_<>]+)` \| [^|]+ \| ([^|]+) \|", table, re.MULTILINE)
    assert sorted(documented) == sorted(keys())


def test_every_section_is_documented() -> None:
    like_dcgm = {kind.key: kind for kind in GPU_KINDS[1:]}
    assert {prefix.partition(".")[0].removesuffix("[]") for prefix in SECTIONS} | like_dcgm.keys() == {
        *keys_of(ServeConfig),
        *(kind.key for kind in SOURCES),
    }
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert all(f"`{key}` ({kind.port})" in page for key, kind in like_dcgm.items())
    nested = {type(getattr(ServeConfig(DiscoverySettings(Path())), key)) for key in keys_of(ServeConfig)}
    assert {each for each in nested if is_dataclass(each)} <= set(SECTIONS.values())


def test_the_documentation_names_every_dialect() -> None:
    table = (ROOT / "docs" / "configuration.md").read_text()
    assert ", ".join(f"`{name}`" for name in DIALECT_NAMES) in table


@pytest.mark.parametrize(
    "example",
    [
        each
        for page in ("configuration.md", "sources.md")
        for each in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(), re.S)
    ],
)
def test_examples_in_the_documentation_work(example: str) -> None:
    read(example)


some_values: st.SearchStrategy[Plain] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10**10),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["127.0.0.1:1", "[::1]:2", "default/a", "http://a:1/", "infscale", "auto"]),
    st.lists(st.text(max_size=5), max_size=2),
)


@given(
    st.dictionaries(
        st.sampled_from([key for key, _ in keys() if not set("<[") & set(key) and key.count(".") == 1]),
        some_values,
        max_size=4,
    )
)
def test_any_values_are_a_configuration_or_a_config_error_on_one_line(chosen: dict[str, Plain]) -> None:
    document: dict[str, dict[str, Plain]] = {"discovery": {"file": "x"}}
    for path, value in chosen.items():
        section, key = path.split(".")
        document.setdefault(section, {})[key] = value
    problem = ""
    try:
        read_config(from_plain({**document}, "f"), BASE)
    except ConfigError as error:
        problem = str(error)
    assert "\n" not in problem


def test_headers_are_named_in_any_case_and_only_known_ones() -> None:
    assert read(MINIMAL + "picker: {trusted_headers: [EPP-Profile]}").picker.trusted_headers == ("epp-profile",)
    with pytest.raises(ConfigError, match=r"picker\.trusted_headers\[0\]: .*x-original-path"):
        read(MINIMAL + "picker: {trusted_headers: [authorization]}")
