"""`infscale import prometheus-adapter` says what becomes of each rule, and where a file is wrong."""

from pathlib import Path

import pytest

from infscale.cli.main import main

RULES = """\
rules:
- seriesQuery: 'vllm:num_requests_waiting{namespace!="",pod!=""}'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {matches: "^vllm:(.*)$", as: "vllm_${1}"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: '{__name__="DCGM_FI_DEV_GPU_UTIL"}'
  resources: {template: "exported_<<.Resource>>"}
  metricsQuery: avg(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^container_.*"}'
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: 'vllm:kv_cache_usage_perc'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: "vllm_num_requests_waiting"}
  metricsQuery: avg(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
externalRules:
- seriesQuery: queue_length
  resources: {namespaced: false}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>})
"""


def reported(path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    path.write_text(text)
    code = main(["import", "prometheus-adapter", str(path)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_each_rule_has_its_row_and_its_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = reported(tmp_path / "rules.yaml", RULES, capsys)
    assert code == 0
    lines = said.splitlines()
    assert [line.split()[:3] for line in lines[1:6]] == [
        ["rules[0]", "2", "vllm_num_requests_waiting"],
        ["rules[1]", "6", "DCGM_FI_DEV_GPU_UTIL"],
        ["rules[2]", "9", "by"],
        ["rules[3]", "11", "vllm_num_requests_waiting"],
        ["externalRules[0]", "16", "queue_length"],
    ]
    assert [line.endswith("own scrapes, then Prometheus") for line in lines[1:6]] == [True, True, False, False, False]
    for note in (
        "pods in a pool: waiting_requests, without a Prometheus",
        "pods in a pool: gpu_utilization_ratio × 100, without a Prometheus",
        "rules[3]",
        "comes later",
        "no label names an object",
        "has the avg of a pod's series, and infscale the max",
        "5 rules are taken unchanged.",
        f"adapter_rules: {tmp_path / 'rules.yaml'}",
    ):
        assert note in said


def test_resource_rules_are_said_and_are_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = reported(tmp_path / "f", f"{RULES}resourceRules: {{cpu: {{}}, memory: {{}}}}\n", capsys)
    assert code == 1
    assert "resourceRules.cpu (line" in said
    assert "metrics-server's, which reads kubelets; keep it, or install it before" in said
    assert "2 of the resource metrics are not" in said


def test_a_config_map_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    indented = "\n".join(f"    {line}" for line in RULES.splitlines())
    code, said, _ = reported(tmp_path / "f", f"kind: ConfigMap\ndata:\n  config.yaml: |\n{indented}\n", capsys)
    assert (code, "rules[0]" in said, " 5 " in said) == (0, True, True)


def test_mistakes_are_said_with_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, wrong = reported(tmp_path / "f", "rules:\n- {seriesQuery: x, metricsQuery: '<<'}\n- 3\n", capsys)
    assert (code, said) == (2, "")
    assert f"{tmp_path / 'f'}:2: rules[0].metricsQuery: character 1: << without >>" in wrong
    assert f"{tmp_path / 'f'}:3: rules[1]: expected a mapping" in wrong
