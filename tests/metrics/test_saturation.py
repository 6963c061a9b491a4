"""One meaning of saturated: thresholds, unknowns, and both kinds of signal."""

import math

import numpy as np
import pytest

from infscale.metrics.saturation import SaturationKind, SaturationSettings

NAN = math.nan


@pytest.mark.parametrize(
    ("settings", "waiting", "kv", "requests", "tokens", "expected"),
    [
        pytest.param(SaturationSettings(), 5, 0.1, 0, 0, 1.0, id="queue at its threshold"),
        pytest.param(SaturationSettings(), 1, 0.8, 0, 0, 1.0, id="cache at its threshold"),
        pytest.param(SaturationSettings(), 10, 0.4, 0, 0, 2.0, id="the larger counts"),
        pytest.param(SaturationSettings(), NAN, 0.4, 0, 0, 0.5, id="an engine without a queue gauge"),
        pytest.param(SaturationSettings(), 2.5, NAN, 0, 0, 0.5, id="an engine without a cache gauge"),
        pytest.param(SaturationSettings(), NAN, NAN, 0, 0, NAN, id="neither is unknown"),
        pytest.param(SaturationSettings(SaturationKind.REQUESTS), NAN, NAN, 50, 0, 0.5, id="in-flight requests"),
        pytest.param(SaturationSettings(SaturationKind.TOKENS), NAN, NAN, 0, 2e6, 2.0, id="in-flight tokens"),
        pytest.param(SaturationSettings(SaturationKind.HYBRID), NAN, NAN, 100, 2e6, 2.0, id="the larger of both"),
    ],
)
def test_ratio(
    settings: SaturationSettings, waiting: float, kv: float, requests: float, tokens: float, expected: float
) -> None:
    columns = (np.array([value], dtype=np.float64) for value in (waiting, kv, requests, tokens))
    assert settings.ratios(*columns)[0] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue_depth_threshold": 0},
        {"queue_depth_threshold": NAN},
        {"kv_utilization_threshold": 80},
        {"max_in_flight_requests": -1},
        {"max_in_flight_tokens": math.inf},
    ],
)
def test_impossible_thresholds_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="threshold"):
        SaturationSettings(**wrong)  # type: ignore[arg-type]
