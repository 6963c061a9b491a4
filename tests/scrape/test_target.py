import pytest

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.dialects import SGLANG, VLLM, Dialect
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
    ("endpoint", "url", "dialect"),
    [
        (Endpoint(KEY, "10.0.0.1", 8000), "http://10.0.0.1:8000/metrics", VLLM),
        (Endpoint(KEY, "fd00::1", 8000, metrics_port=9000), "http://[fd00::1]:9000/metrics", VLLM),
        (Endpoint(KEY, "10.0.0.1", 1, {"llm-d.ai/engine-type": "sglang"}), "http://10.0.0.1:1/metrics", SGLANG),
        (Endpoint(KEY, "10.0.0.1", 1, {"llm-d.ai/engine-type": "own"}), "http://10.0.0.1:1/metrics", None),
    ],
    ids=["plain", "IPv6 and metrics port", "labelled", "unknown engine"],
)
def test_a_template_makes_targets(endpoint: Endpoint, url: str, dialect: Dialect | None) -> None:
    target = TargetTemplate().target(endpoint)
    assert (target.key, target.url, target.dialect) == (KEY, url, dialect)
