"""A request header names the profile that schedules it."""

import pytest

from infscale.errors import ConfigError
from picker.epp_config.loader import load_picker_config
from picker.request import Headers, Rejection
from tests.fakes.pools import NO_HEADERS, headers
from tests.picker.directing.test_director import Bench, ask

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
PROFILES = """\
plugins:
- {type: header-profile-handler, parameters: {PARAMETERS}}
- {type: queue-scorer}
- {type: kv-cache-utilization-scorer}
schedulingProfiles:
- {name: decode, plugins: [{pluginRef: queue-scorer}]}
- {name: prefill, plugins: [{pluginRef: kv-cache-utilization-scorer}]}
"""


def config(parameters: str = "") -> str:
    return HEAD + PROFILES.replace("PARAMETERS", parameters)


@pytest.mark.parametrize(
    ("parameters", "given", "row"),
    [
        ("", NO_HEADERS, 0),
        ("", headers(epp_profile="decode"), 0),
        ("", headers(epp_profile="prefill"), 1),
        ("", headers(epp_profile=""), 0),
        ("", headers(epp_profile="encode"), None),
        ("defaultProfile: prefill", NO_HEADERS, 1),
        ("headerName: X-Phase", headers(x_phase="prefill"), 1),
        ("headerName: X-Phase", headers(epp_profile="prefill"), 0),
    ],
    ids=["none", "named", "the other", "empty", "unknown", "another default", "another header", "not that header"],
)
def test_the_header_names_the_profile(parameters: str, given: Headers, row: int | None) -> None:
    bench = Bench(2, config(parameters))
    # The first has the shorter queue, the second the emptier cache.
    for endpoint, waiting, kv in zip(bench.state.endpoints, (0.0, 5.0), (0.9, 0.1), strict=True):
        bench.scrape(endpoint, waiting=waiting, kv=kv)
    if row is None:
        answer = bench.refused(ask(given=given))
        assert isinstance(answer, Rejection)
        assert answer.status == 429
    else:
        assert bench.routed(ask(given=given)).destinations[0] == bench.authority(row)


def test_a_default_that_is_no_profile_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"epp\.yaml:4: plugins\[0\]: there is no profile 'x' for requests without"):
        load_picker_config(config("defaultProfile: x"), "epp.yaml")
