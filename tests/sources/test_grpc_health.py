"""The section of the configuration: what it can say, and what is refused where it is written."""

from pathlib import Path

import pytest

from infscale.config.read import read_config
from infscale.documents.strict_document import load
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError
from infscale.sources.grpc_health import GrpcHealthSettings, HealthTls

BASE = Path("/etc/infscale")


def read(section: str) -> GrpcHealthSettings:
    config = read_config(load(f"discovery: {{file: x}}\n{section}", "serve.yaml"), BASE)
    settings = config.sources["grpc_health"]
    assert isinstance(settings, GrpcHealthSettings)
    return settings


def test_nothing_is_asked_without_the_section_and_everything_with_an_empty_one() -> None:
    assert read("") == GrpcHealthSettings()
    assert not read("").asked
    assert read("grpc_health: {}") == GrpcHealthSettings(asked=True)


def test_every_key_is_read() -> None:
    assert read(
        "grpc_health: {port: 9000, service: vllm.Engine, names: [a, b], discovered_names: false, pools: [llm/chat], "
        "interval_seconds: 2, tls: {ca: ca.crt, certificate: /c, key: k, server_name: model-server}}"
    ) == GrpcHealthSettings(
        True,
        9000,
        "vllm.Engine",
        ("a", "b"),
        False,
        (ObjectKey("llm", "chat"),),
        2.0,
        1.6,
        HealthTls(BASE / "ca.crt", Path("/c"), BASE / "k", "model-server"),
    )


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{names: [a, a]}", "grpc_health.names[1]: 'a' is given twice"),
        ("{names: ['']}", "grpc_health.names[0]: "),
        (f"{{names: [{'x' * 513}]}}", "grpc_health.names[0]: expected at most 512 letters, got 513"),
        (f"{{names: {[f'n{each}' for each in range(65)]}}}", "grpc_health.names: expected at most 64 names, got 65"),
        ("{pools: [chat]}", "grpc_health.pools[0]: expected namespace/name"),
        ("{port: 0}", "grpc_health.port: "),
        ("{interval_seconds: 61}", "grpc_health.interval_seconds: expected at most 60, got 61"),
        ("{interval_seconds: 1, timeout_seconds: 1}", "grpc_health.timeout_seconds: expected less than"),
        ("{tls: {certificate: c}}", "grpc_health.tls.certificate: goes with key"),
        ("{tls: {key: k}}", "grpc_health.tls.key: goes with certificate"),
        ("{adapters: [a]}", "grpc_health.adapters: unknown key"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(section: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(f"grpc_health: {section}")
    assert str(raised.value).startswith(f"serve.yaml:2: {problem}")
