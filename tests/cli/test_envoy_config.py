"""The Envoy configuration of a ``serve.yaml``: what follows from the files, and a real Envoy that serves by it."""

import re
import shlex
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from infscale.cli.main import main
from infscale.demo.child_processes import free_ports
from infscale.envoy.process import find_envoy
from infscale.process.parents import die_with_parent

README = (Path(__file__).parents[2] / "README.md").read_text()
ENDPOINTS = "endpoints:\n- {name: a, address: 127.0.0.1, port: 8000}\n- {name: b, address: fd00::1, port: 8001}\n"
POOL = """\
- apiVersion: inference.networking.k8s.io/v1
  kind: InferencePool
  metadata: {name: %s}
  spec:
    selector: {matchLabels: {app: %s}}
    targetPorts: [{number: 8000}]
    endpointPickerRef: {name: infscale, port: {number: 9002}, failureMode: %s}
"""


def written(
    folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str, picker: str = "", endpoints: str = ENDPOINTS
) -> Any:
    """The document for a `serve.yaml` with `picker` in it, or the errors."""
    (folder / "discovery.yaml").write_text(endpoints)
    (folder / "serve.yaml").write_text(f"discovery: {{file: discovery.yaml}}\npicker: {{{picker}}}\n")
    status = main(["envoy-config", "--config", str(folder / "serve.yaml"), *arguments])
    said = capsys.readouterr()
    if status:
        assert status == 2
        return said.err.replace(f"{folder}/", "")
    return yaml.safe_load(said.out)


def cluster(document: Any) -> Any:
    return document["static_resources"]["clusters"][0]


def manager(document: Any) -> Any:
    return document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def processor(document: Any) -> Any:
    return manager(document)["http_filters"][0]["typed_config"]


def test_envoy_knows_the_endpoints_of_the_discovery_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = written(tmp_path, capsys, picker="destinations: 2, listen: '0.0.0.0:9102'")
    members = cluster(document)["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert [each["endpoint"]["address"]["socket_address"] for each in members] == [
        {"address": "127.0.0.1", "port_value": 8000},
        {"address": "fd00::1", "port_value": 8001},
    ]
    assert (
        cluster(document)["load_balancing_policy"]["policies"][0]["typed_extension_config"]["name"] == "override_host"
    )
    asked = document["static_resources"]["clusters"][1]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert asked[0]["endpoint"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9102}


@pytest.mark.parametrize("kind", ["known", "original-dst"])
def test_clients_cannot_say_what_only_a_gateway_may(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    document = written(tmp_path, capsys, "--cluster", kind, picker="trusted_headers: [x-llm-d-inference-pool]")
    mutations = manager(document)["early_header_mutation_extensions"][0]["typed_config"]["mutations"]
    removed = {each["remove"] for each in mutations}
    assert "x-gateway-destination-endpoint" in removed
    assert "x-llm-d-inference-pool" not in removed


def test_an_envoy_may_go_wherever_the_picker_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = written(tmp_path, capsys, "--cluster", "original-dst", "--listen", "[::]:80")
    assert cluster(document)["type"] == "ORIGINAL_DST"
    assert document["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] == 80


@pytest.mark.parametrize(("mode", "expected"), [("FailOpen", True), ("FailClose", False)])
def test_the_pool_says_whether_envoy_goes_on_without_the_picker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str, expected: bool
) -> None:
    endpoints = "endpoints: [{name: a, address: 10.0.0.1, port: 8000, labels: {app: x}}]\nobjects:\n"
    document = written(tmp_path, capsys, endpoints=endpoints + POOL % ("chat", "x", mode))
    assert processor(document)["failure_mode_allow"] is expected


def test_a_pool_of_http2_is_spoken_to_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endpoints = "endpoints: [{name: a, address: 10.0.0.1, port: 8000, labels: {app: x}}]\nobjects:\n"
    pool = POOL % ("chat", "x", "FailClose") + "    appProtocol: kubernetes.io/h2c\n"
    plain = written(tmp_path, capsys, endpoints=endpoints + POOL % ("chat", "x", "FailClose"))
    assert "typed_extension_protocol_options" not in cluster(plain)
    assert "http2_protocol_options" in str(cluster(written(tmp_path, capsys, endpoints=endpoints + pool)))


def test_the_picker_sees_answers_where_the_files_need_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert processor(written(tmp_path, capsys))["processing_mode"]["response_body_mode"] == "NONE"
    asked = processor(written(tmp_path, capsys, "--response-bodies"))
    rewrite = (
        "objects:\n- apiVersion: llm-d.ai/v1alpha2\n  kind: InferenceModelRewrite\n  metadata: {name: r}\n"
        "  spec: {poolRef: {name: default}, rules: [{targets: [{modelRewrite: b}]}]}\n"
    )
    needed = processor(written(tmp_path, capsys, endpoints=ENDPOINTS + rewrite))
    for each in (asked, needed):
        assert each["processing_mode"]["response_body_mode"] == "FULL_DUPLEX_STREAMED"


@pytest.mark.parametrize(
    ("arguments", "picker", "endpoints", "said"),
    [
        ((), "listen: '127.0.0.1:0'", ENDPOINTS, "serve.yaml: picker.listen: the port is any free one"),
        (("--cluster", "original-dst"), "destinations: 2", ENDPOINTS, "picker.destinations: 2 destinations need"),
        ((), "", "endpoints: []\n", "no endpoint of the discovery file belongs to pool default/default; --cluster"),
        ((), "", "objects:\n" + POOL % ("a", "x", "FailOpen") + POOL % ("b", "y", "FailOpen"), "default/a, default/b"),
        (("--listen", "80"), "", ENDPOINTS, "--listen: expected address:port, such as 127.0.0.1:9002"),
        (("--picker-ca", "none.crt"), "", ENDPOINTS, "--picker-ca: none.crt cannot be read: No such file"),
        ((), "transport: http3", "endpoint: []\n", "serve.yaml:2: picker.transport: expected one of http2, grpc_aio"),
        ((), "transport: http3", "endpoint: []\n", "discovery.yaml:1: endpoint: unknown key"),
    ],
)
def test_what_no_envoy_can_serve_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    picker: str,
    endpoints: str,
    said: str,
) -> None:
    assert said in written(tmp_path, capsys, *arguments, picker=picker, endpoints=endpoints)


# With a real Envoy


def commands(section: str) -> list[str]:
    """The commands of a section of the README, in their order."""
    text = README.partition(f"## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [line[2:].partition("  #")[0].strip() for block in blocks for line in block.splitlines() if line[:2] == "$ "]


def readme_yaml(name: str) -> str:
    return re.findall(rf"```yaml\n(# {re.escape(name)}.*?)```", README, re.DOTALL)[0]


class Terminal:
    """Runs the README's commands, on free ports and with what is in this virtual environment."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        client, admin, picker, adapter, telemetry = free_ports(5)
        self.client = f"127.0.0.1:{client}"
        self._ports = {8080: client, 9901: admin}
        serve = yaml.safe_load(readme_yaml("serve.yaml"))
        serve["picker"]["listen"] = f"127.0.0.1:{picker}"
        serve |= {"adapter": {"listen": f"127.0.0.1:{adapter}"}, "telemetry": {"listen": f"127.0.0.1:{telemetry}"}}
        (folder / "serve.yaml").write_text(yaml.safe_dump(serve))
        self.admin = f"127.0.0.1:{admin}"

    def words(self, command: str) -> list[str]:
        program, *rest = shlex.split(command)
        named = {"infscale": [sys.executable, "-m", "infscale.cli.main"], "envoy": [str(find_envoy())]}
        return [*named[Path(program).name], *rest]

    def run(self, command: str, *more: str) -> None:
        subprocess.run([*self.words(command), *more], cwd=self.folder, check=True, timeout=30, capture_output=True)

    def start(self, command: str, *more: str) -> None:
        self._stack.enter_context(started([*self.words(command), *more], self.folder))

    def ask(self, body: bytes) -> str:
        """The answer to the README's request, once it is served."""
        request = urllib.request.Request(
            f"http://{self.client}/v1/completions", body, {"content-type": "application/json"}
        )
        answers: list[str] = []

        def served() -> bool:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    answers.append(answer.read().decode())
            except urllib.error.HTTPError as error:
                error.close()
            except OSError:
                pass
            return bool(answers)

        wait_until(served, 25)
        return answers[0]


@contextmanager
def started(words: list[str], folder: Path) -> Generator[None, None, None]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509 # one system call, no locks
        )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(15)


@pytest.fixture
def terminal(tmp_path: Path) -> Generator[Terminal, None, None]:
    with ExitStack() as stack:
        yield Terminal(tmp_path, stack)


@pytest.mark.envoy
@pytest.mark.timeout(90)
@pytest.mark.parametrize("kind", ["known", "original-dst"])
def test_the_commands_of_the_readme_end_with_a_request_through_envoy(terminal: Terminal, kind: str) -> None:
    install, check, serve, envoy_config, envoy, curl = commands("Run it on your servers")
    simulated = re.findall(r"`\.venv/bin/(infscale sim-server [^`]*)`", README)[0]
    assert install.startswith("make ")
    if kind == "original-dst":
        document = yaml.safe_load((terminal.folder / "serve.yaml").read_text())
        del document["picker"]["destinations"]
        (terminal.folder / "serve.yaml").write_text(yaml.safe_dump(document))
    terminal.start(simulated, "--port", "0")
    discovery = terminal.folder / "discovery.yaml"
    wait_until(discovery.exists, 20)
    terminal.run(check)
    terminal.start(serve)
    ports = ("--listen", terminal.client, "--admin", terminal.admin, "--cluster", kind)
    terminal.run(envoy_config, *ports)
    terminal.start(envoy, "--disable-hot-restart", "-l", "error")
    assert curl.startswith("curl http://127.0.0.1:8080/v1/completions -H 'content-type: application/json' -d ")
    assert '"text_completion"' in terminal.ask(shlex.split(curl)[-1].encode())
    endpoints = yaml.safe_load(discovery.read_text())["endpoints"]
    assert len(endpoints) == 4


@pytest.mark.envoy
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("mode", "reached"), [("FailOpen", True), ("FailClose", False)])
def test_without_a_picker_a_pool_that_fails_open_still_reaches_its_servers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str, reached: bool
) -> None:
    """Health checks take a dead picker out; what comes after that goes by round robin, or is refused."""
    port, client, admin, picker = free_ports(4)
    endpoints = f"endpoints: [{{name: a, address: 127.0.0.1, port: {port}, labels: {{app: x}}}}]\nobjects:\n"
    ports = ("--listen", f"127.0.0.1:{client}", "--admin", f"127.0.0.1:{admin}")
    listen, pool = f"listen: '127.0.0.1:{picker}'", POOL % ("chat", "x", mode)
    document = written(tmp_path, capsys, *ports, picker=listen, endpoints=endpoints + pool)
    (tmp_path / "envoy.yaml").write_text(yaml.safe_dump(document))
    server = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    envoy = [str(find_envoy()), "-c", "envoy.yaml", "--disable-hot-restart", "-l", "error"]
    with started(server, tmp_path), started(envoy, tmp_path):
        unhealthy = f"http://127.0.0.1:{admin}/clusters"
        wait_until(lambda: "failed_active_hc" in page(unhealthy), 20)
        # Python's server has no answer to POST: 501 is its own word, and Envoy's are others.
        assert (status(client) == 501) is reached


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)


def page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def status(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/completions", b"{}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
