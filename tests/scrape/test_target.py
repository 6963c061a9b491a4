import pytest

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import DIALECTS, SGLANG, TRTLLM_SERVE, VLLM
from infscale.metrics.pages.written_dialects import Engines
from infscale.scrape.target import Target, TargetTemplate

KEY = EndpointKey("default", "a")


@pytest.mark.parametrize(
    ("interval", "timeout"), [(0.5, 0.5), (0.5, 0.6), (0.5, 0.0), (0.0, -1.0), (float("inf"), 1.0), (float("nan"), 1.0)]
)
def test_a_timeout_is_shorter_than_the_interval(interval: float, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout_seconds < interval_seconds"):
        Target(KEY, "http://127.0.0.1/metrics", VLLM, interval, timeout)


def test_only_http_is_scraped() -> None:
    with pytest.raises(ValueError, match="http://"):
        Target(KEY, "file:///etc/passwd")


@pytest.mark.parametrize(
    ("template", "endpoint", "url", "dialect"),
    [
        (TargetTemplate(), Endpoint(KEY, "10.0.0.1", 8000), "http://10.0.0.1:8000/metrics", None),
        (
            TargetTemplate(engines=Engines(default=VLLM)),
            Endpoint(KEY, "fd00::1", 8000, metrics_port=9000),
            "http://[fd00::1]:9000/metrics",
            VLLM,
        ),
        (
            TargetTemplate("https", "/m", port=9100),
            Endpoint(KEY, "fd00::1", 8000, {"llm-d.ai/engine-type": "sglang"}, metrics_port=9000),
            "https://[fd00::1]:9100/m",
            SGLANG,
        ),
        (
            TargetTemplate(engines=Engines(default=VLLM)),
            Endpoint(KEY, "10.0.0.1", 1, {"llm-d.ai/engine-type": "own"}),
            "http://10.0.0.1:1/metrics",
            None,
        ),
        (
            TargetTemplate(),
            Endpoint(KEY, "10.0.0.1", 1, engine="trtllm-serve"),
            "http://10.0.0.1:1/prometheus/metrics",
            TRTLLM_SERVE,
        ),
        (
            TargetTemplate(),
            Endpoint(KEY, "10.0.0.1", 1, {"llm-d.ai/engine-type": "sglang"}, engine="trtllm-serve"),
            "http://10.0.0.1:1/metrics",
            SGLANG,
        ),
        (
            TargetTemplate(port=9100),
            Endpoint(KEY, "gw.example.com", 80, metrics_address="epp.example.com"),
            "http://epp.example.com:9100/metrics",
            None,
        ),
    ],
    ids=[
        "plain",
        "IPv6 and metrics port",
        "labelled, port for all",
        "unknown engine",
        "annotated",
        "a label counts more",
        "page elsewhere",
    ],
)
def test_a_template_makes_targets(
    template: TargetTemplate, endpoint: Endpoint, url: str, dialect: Dialect | None
) -> None:
    (target,) = template.targets([endpoint])
    assert (target.key, target.url, target.dialect) == (KEY, url, dialect)
    assert target.candidates == tuple(DIALECTS.values())


def test_certificates_are_verified_unless_told_otherwise() -> None:
    endpoint = Endpoint(KEY, "10.0.0.1", 8000)
    assert [
        target.verify_tls
        for template in (TargetTemplate(), TargetTemplate(verify_tls=False))
        for target in template.targets([endpoint])
    ] == [True, False]
