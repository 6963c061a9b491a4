"""Requests that wait by the file of a policy, in virtual time."""

from pathlib import Path

from infscale.simulate.policy import named_policy
from infscale.simulate.simulation import simulate
from tests.simulate.scenarios import SharedPrefixes, scenario

FILE = """
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- {type: concurrency-detector, parameters: {maxConcurrency: 8}}
- type: queue-scorer
flowControl: {saturationDetector: {pluginRef: concurrency-detector}}
"""


def test_all_are_served_and_the_higher_class_first(tmp_path: Path) -> None:
    file = tmp_path / "epp.yaml"
    file.write_text(FILE)
    traffic = SharedPrefixes(requests=200, rate=60.0, prefixes=200, batch_ratio=0.5)
    given = scenario(2, traffic, priorities={"batch": -1})
    at_once = simulate(given, named_policy(f"{file}@unqueued"), 1).requests
    held = simulate(given, named_policy(str(file)), 1).requests
    batch = held.request_class == held.classes.index("batch")
    assert at_once.refused.any()
    assert held.answered.all()
    assert held.ttft[batch].mean() > 2 * held.ttft[~batch].mean()
