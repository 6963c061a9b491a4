"""``infscale check`` says everything that is wrong with a file of any kind, or what it means."""

from pathlib import Path

import pytest

from infscale.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "manifests" / "examples"
SERVE = "discovery: {file: discovery.yaml}\n"
DISCOVERY = """\
endpoints:
- {name: a, address: 127.0.0.1, port: "8000"}
- {name: b, address: 127.0.0.1, port: "8001"}
"""
PICKER = "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\nplugins: [{type: queue-scorer}]\n"


class Files:
    """A folder of configuration files, checked as the command line does."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.write(serve=SERVE, discovery=DISCOVERY, epp=PICKER)

    def write(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.folder / f"{name}.yaml").write_text(text)

    def check(self, *names: str) -> tuple[int, str, list[str]]:
        """Exit status, output, and the lines of errors, without the folder."""
        status = main(["check", *(str(self.folder / f"{name}.yaml") for name in names)])
        said = self._capsys.readouterr()
        out, err = (text.replace(f"{self.folder}/", "") for text in said)
        return status, out, [line.removeprefix("infscale: ") for line in err.splitlines()]


@pytest.fixture
def files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Files:
    return Files(tmp_path, capsys)


def test_a_usable_configuration_is_said_to_be_and_what_it_means(files: Files) -> None:
    status, out, err = files.check("serve")
    assert (status, err) == (0, [])
    assert out == (
        "serve.yaml can be used.\n\n"
        "Endpoints    discovery.yaml: 2 endpoints, pool default/default\n"
        "Scheduling   preset infscale\n"
        "Picker       ext_proc on 127.0.0.1:9002\n"
        "Adapter      https://127.0.0.1:6443\n"
        "Own metrics  http://127.0.0.1:9090/metrics\n"
    )


def test_every_kind_of_file_is_known_by_its_keys(files: Files) -> None:
    status, out, err = files.check("discovery", "epp", "serve")
    assert (status, err) == (0, [])
    assert "discovery.yaml can be used: 2 endpoints, pool default/default.\n\nepp.yaml can be used.\n" in out
    assert out.count("can be used") == 3


@pytest.mark.parametrize("name", ["serve.yaml", "discovery.yaml"])
def test_the_examples_can_be_used(name: str) -> None:
    assert main(["check", str(EXAMPLES / name)]) == 0


def test_the_older_name_is_the_same_command(files: Files) -> None:
    assert main(["lint-config", str(files.folder / "epp.yaml")]) == 0


def test_all_problems_of_a_configuration_and_the_files_it_names_are_said_at_once(files: Files) -> None:
    files.write(
        serve="discovery: {file: discovery.yaml}\npiker: {}\npicker: {config_file: epp.yaml, listen: 80}\n",
        discovery="endpoints:\n- {name: A, address: host, port: 0, label: {}}\n- {name: b}\nobject: []\n",
        epp="apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\nplugins:\n- {type: que-scorer}\n- {}\n",
    )
    status, out, err = files.check("serve")
    assert (status, out) == (2, "")
    starts = [
        "serve.yaml:2: piker: unknown key; ",
        "serve.yaml:3: picker.listen: expected address:port, such as 127.0.0.1:9002 or [::1]:9002, got a number",
        "epp.yaml:4: plugins[0].type: there is no plugin type 'que-scorer'; ",
        "epp.yaml:5: plugins[1]: key 'type' is missing",
        "discovery.yaml:2: endpoints[0].label: unknown key; ",
        "discovery.yaml:2: endpoints[0].name: expected ",
        "discovery.yaml:2: endpoints[0].port: expected at least 1, got 0",
        "discovery.yaml:2: endpoints[0].address: expected the IPv4 or IPv6 address of a server",
        "discovery.yaml:3: endpoints[1]: key 'address' is missing",
        "discovery.yaml:3: endpoints[1]: key 'port' is missing",
        "discovery.yaml:4: object: unknown key; expected one of endpoints, objects; did you mean objects?",
    ]
    assert [line for line, start in zip(err, starts, strict=True) if not line.startswith(start)] == []


def test_files_that_are_not_there_are_named_with_their_keys(files: Files) -> None:
    files.write(serve="discovery:\n  file: endpoints.yaml\npicker:\n  config_file: none.yaml\n")
    assert files.check("serve") == (
        2,
        "",
        [
            "serve.yaml:2: discovery.file: endpoints.yaml cannot be read: No such file or directory",
            "serve.yaml:4: picker.config_file: none.yaml cannot be read: No such file or directory",
        ],
    )
    assert files.check("gone") == (2, "", ["gone.yaml: cannot be read: No such file or directory"])


def test_files_that_do_not_go_together_are_refused(files: Files) -> None:
    files.write(
        serve=SERVE + "picker: {config_file: epp.yaml}\nscrape: {interval_seconds: 1}\n",
        epp=PICKER.replace("queue-scorer", "utilization-detector, parameters: {metricsStalenessThreshold: 1s}"),
    )
    status, _, (line,) = files.check("serve")
    assert status == 2
    assert "epp.yaml: saturationDetector: the staleness limit of 1 s for pool default/default is less than 2 ×" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "serve.yaml: expected one YAML document, found 0"),
        ("- a\n", "serve.yaml:1: expected a mapping, got a list"),
        ("a: [\n", "serve.yaml:1: not valid YAML: "),
        ("a: 1\na: 2\n", "serve.yaml:1: a: unknown key"),
        ("a: !!python/object:os.system x\n", "serve.yaml:1: not valid YAML: tags are not allowed"),
        ("apiVersion: v1\nkind: Pod\n", "serve.yaml:2: kind: expected one of EndpointPickerConfig, got 'Pod'"),
    ],
)
def test_what_is_no_configuration_at_all_is_refused_too(files: Files, text: str, said: str) -> None:
    files.write(serve=text)
    status, out, err = files.check("serve")
    assert (status, out) == (2, "")
    assert any(line.startswith(said) for line in err), err


def test_one_bad_file_does_not_hide_a_good_one(files: Files) -> None:
    files.write(epp="kind: x\n")
    status, out, err = files.check("epp", "serve", "discovery")
    assert status == 2
    assert out.count("can be used") == 2
    assert err[0].startswith("epp.yaml:1: ")


def test_rules_of_a_prometheus_adapter_are_checked_with_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "discovery.yaml").write_text("endpoints: []")
    (tmp_path / "rules.yaml").write_text("rules:\n- {seriesQuery: x, metricsQuery: '<<'}\n")
    path = tmp_path / "serve.yaml"
    servers = "servers: {main: {url: http://p:9090}}"
    path.write_text(f"discovery: {{file: discovery.yaml}}\nprometheus: {{{servers}, adapter_rules: rules.yaml}}\n")
    assert main(["check", str(path)]) == 2
    assert "rules.yaml:2: rules[0].metricsQuery: character 1: << without >>" in capsys.readouterr().err


def test_resource_rules_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "discovery.yaml").write_text("endpoints: []")
    (tmp_path / "rules.yaml").write_text("rules: []\nresourceRules:\n  cpu: {}\n")
    path = tmp_path / "serve.yaml"
    servers = "servers: {main: {url: http://p:9090}}"
    path.write_text(f"discovery: {{file: discovery.yaml}}\nprometheus: {{{servers}, adapter_rules: rules.yaml}}\n")
    assert main(["check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "Notes (1)" in said
    assert (
        "rules.yaml:3: resourceRules: not served: the resource metrics API (metrics.k8s.io) is metrics-server's" in said
    )


SESSIONS = """\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
- type: session-affinity-filter
  parameters:
    strategy: signed_token
    signedTokenConfig: {keys: %s, header: x-session}
- {type: session-affinity-scorer, parameters: {sessionIdConfig: {}}}
- {type: queue-scorer}
"""


def test_keys_of_sessions_are_read_and_what_is_not_as_it_seems_is_said(files: Files) -> None:
    keys = files.folder / "keys"
    files.write(epp=SESSIONS % keys, serve=SERVE + "picker: {config_file: epp.yaml}\n")
    status, _, err = files.check("serve")
    where = "epp.yaml:7: plugins[0].parameters.signedTokenConfig.keys: "
    assert (status, err) == (2, [f"{where}keys: cannot be read: No such file or directory"])
    keys.write_text("too short\n")
    expected = "expected base64 of at least 32 random bytes (openssl rand -base64 32)"
    assert files.check("epp")[2] == [f"{where}keys:1: {expected}"]
    keys.write_text("A" * 43 + "=\n")
    status, out, err = files.check("epp")
    assert (status, err) == (0, [])
    assert "it belongs to strategy: session_id" in out
    assert "clients read in x-session-token where they are, and can name any endpoint" in out
    assert "A" * 43 not in out
