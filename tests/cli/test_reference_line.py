"""`infscale-picker` as a process, with the reference picker's command line."""

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from infscale.cli.main import picker_main
from infscale.demo.child_processes import free_ports
from tests.fakes.cluster import FakeCluster as FakeReviews
from tests.kube import cluster_objects as made
from tests.kube.api_server import serving
from tests.kube.fake_cluster import FakeCluster
from tests.picker.transport import gateway
from tests.picker.transport.test_transports import certificate

NO_HEADERS: Mapping[str, str] = {}
ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "import sys; from infscale.cli.main import picker_main; sys.exit(picker_main())"]
SERVERS = [sys.executable, "-m", "infscale.cli.main", "sim-server", "--servers", "2", "--port", "0"]
EPP = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {name: file, type: file-discovery, parameters: {path: FILE, watchFile: true}}
- {type: queue-scorer}
- {type: max-score-picker}
dataLayer: {discovery: {endpoints: {pluginRef: file}}}
"""


@dataclass(frozen=True)
class Line:
    """Free ports, and the arguments that say them."""

    grpc: int
    health: int
    metrics: int
    said: tuple[str, ...] = ()
    pid: int = 0

    @property
    def arguments(self) -> list[str]:
        ports = ["--grpc-port", str(self.grpc), f"-grpc-health-port={self.health}", f"--metrics-port={self.metrics}"]
        return [*ports, "--refresh-metrics-interval=50ms", "--drain-timeout=200ms", "-v", "2"]


def on_free_ports() -> Line:
    grpc_port, health, metrics = free_ports(3)
    return Line(grpc_port, health, metrics)


@pytest.fixture(scope="module")
def epp(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """An `EndpointPickerConfig` that names the file of two simulated servers, which run as long as the tests."""
    folder = tmp_path_factory.mktemp("reference")
    file = folder / "endpoints.yaml"
    command = [*SERVERS, "--endpoints-file", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for _ in range(2):
            assert "serves" in process.stdout.readline()
        (folder / "epp.yaml").write_text(EPP.replace("FILE", str(file)))
        yield folder / "epp.yaml"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@asynccontextmanager
async def running(*arguments: str, cwd: Path = ROOT) -> AsyncGenerator[Line]:
    """The picker with these arguments and free ports, from when it serves until SIGTERM has ended it in order."""
    line = on_free_ports()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *line.arguments, *arguments, stderr=subprocess.PIPE, cwd=cwd, env=environment
    )
    assert process.stderr is not None
    said: list[str] = []
    while not any('"event":"serving"' in each for each in said):
        said.append((await process.stderr.readline()).decode())
        assert said[-1], f"it ended before it served: {said}"
    try:
        yield replace(line, said=tuple(said), pid=process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        rest = (await process.stderr.read()).decode()
        assert await process.wait() == 0
        assert "Traceback" not in rest


async def chosen(channel: grpc.aio.Channel) -> str:
    """The endpoint that gets a request, asked for until there is one."""
    async with asyncio.timeout(10):
        while True:
            stream = gateway.open_stream(channel)
            await stream.write(gateway.headers((":path", "/v1/completions"), (":method", "POST")))
            await stream.write(gateway.body(b'{"model":"m","prompt":"hello"}'))
            answer = await gateway.answer(stream)
            if answer.HasField("request_headers"):
                stream.cancel()
                mutation = answer.request_headers.response.header_mutation
                found = {each.header.key: each.header.raw_value.decode() for each in mutation.set_headers}
                return found["x-gateway-destination-endpoint"]
            await asyncio.sleep(0.05)


def authorities(epp: Path) -> set[str]:
    document = yaml.safe_load((epp.parent / "endpoints.yaml").read_text())
    return {f"{each['address']}:{each['port']}" for each in document["endpoints"]}


def server_certificate(port: int) -> x509.Certificate:
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode())


async def status(url: str, headers: Mapping[str, str] = NO_HEADERS) -> int | None:
    """The status of a page; None: nothing listens."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url, headers=headers) as response:
                return response.status
        except aiohttp.ClientConnectorError:
            return None


async def test_plain_text_with_everything_open(epp: Path) -> None:
    arguments = ["--config-file", str(epp), "--secure-serving=false", "--metrics-endpoint-auth=false"]
    async with running(*arguments) as line, grpc.aio.insecure_channel(f"127.0.0.1:{line.grpc}") as channel:
        assert await chosen(channel) in authorities(epp)
        assert await gateway.check(line.health) == "SERVING"
        assert await status(f"http://127.0.0.2:{line.metrics}/metrics") == 200
        assert await status(f"http://127.0.0.1:{line.metrics}/debug/snapshot") == 404


async def test_tls_with_a_certificate_of_its_own(epp: Path) -> None:
    text = await asyncio.to_thread(epp.read_text)
    async with running("--config-text", text) as line:
        served = await asyncio.to_thread(server_certificate, line.grpc)
        assert served.subject == served.issuer
        credentials = grpc.ssl_channel_credentials(served.public_bytes(Encoding.PEM))
        async with grpc.aio.secure_channel(f"localhost:{line.grpc}", credentials) as channel:
            assert await chosen(channel) in authorities(epp)
        assert await gateway.check(line.health) == "SERVING"
        assert await status(f"http://127.0.0.1:{line.metrics}/metrics") == 200
        assert await status(f"http://127.0.0.2:{line.metrics}/metrics") is None
        assert any("/metrics listens on loopback only" in each for each in line.said)


async def test_tls_from_files_that_change(epp: Path, tmp_path: Path) -> None:
    certificate(tmp_path)
    arguments = ["--config-file", str(epp), "--cert-path", str(tmp_path), "--enable-cert-reload"]
    async with running(*arguments) as line:
        first = await asyncio.to_thread(server_certificate, line.grpc)
        assert first.public_bytes(Encoding.PEM) == (tmp_path / "tls.crt").read_bytes()
        certificate(tmp_path)
        async with asyncio.timeout(10):
            while (second := await asyncio.to_thread(server_certificate, line.grpc)) == first:
                await asyncio.sleep(0.1)
        assert second.public_bytes(Encoding.PEM) == (tmp_path / "tls.crt").read_bytes()


async def test_paths_start_at_the_working_directory(epp: Path) -> None:
    text = EPP.replace("FILE", "endpoints.yaml")
    async with (
        running("--config-text", text, "--secure-serving=false", "--pool-namespace=prod", cwd=epp.parent) as line,
        grpc.aio.insecure_channel(f"127.0.0.1:{line.grpc}") as channel,
    ):
        assert await chosen(channel) in authorities(epp)


async def test_draining_is_said_while_exchanges_are_still_taken(epp: Path) -> None:
    arguments = ["--config-file", str(epp), "--secure-serving=false", "--drain-timeout=2s"]
    async with running(*arguments) as line, grpc.aio.insecure_channel(f"127.0.0.1:{line.grpc}") as channel:
        await chosen(channel)
        os.kill(line.pid, signal.SIGTERM)
        async with asyncio.timeout(2):
            while await gateway.check(line.health) != "NOT_SERVING":
                await asyncio.sleep(0.05)
        assert await chosen(channel) in authorities(epp)


# A cluster


def kubeconfig(folder: Path, server: str) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.mark.parametrize(
    "arguments",
    [["--pool-name=pool"], ["--endpoint-selector=app in (vllm)", "--endpoint-target-ports=PORT"]],
    ids=["by pool", "by selector"],
)
async def test_a_pool_of_a_cluster_with_the_reference_s_rights(epp: Path, tmp_path: Path, arguments: list[str]) -> None:
    endpoint = sorted(authorities(epp))[0]
    port = endpoint.rpartition(":")[2]
    cluster, reviews = FakeCluster(), FakeReviews()
    cluster.forbidden = {"replicasets", "deployments", "services", "horizontalpodautoscalers", "inferencemodels"}
    await cluster.apply("inference.networking.k8s.io", "inferencepools", made.pool("pool", int(port)))
    await cluster.apply("inference.networking.k8s.io", "inferencepools", made.pool("other", 1))
    await cluster.apply("", "pods", made.pod("vllm-0", "127.0.0.1"))
    reviews.users = {"good": {"username": "prometheus"}}
    reviews.allows = lambda spec: bool(spec["user"] == "prometheus")
    async with serving(cluster, reviews) as url:
        given = [each.replace("PORT", port) for each in arguments]
        config = await asyncio.to_thread(kubeconfig, tmp_path, url)
        given += ["--pool-namespace=chat", f"--kubeconfig={config}", "--secure-serving=false"]
        async with running(*given) as line, grpc.aio.insecure_channel(f"127.0.0.1:{line.grpc}") as channel:
            assert await chosen(channel) == endpoint
            page = f"http://127.0.0.2:{line.metrics}/metrics"
            assert await status(page) == 403
            assert await status(page, {"Authorization": "Bearer wrong"}) == 401
            assert await status(page, {"Authorization": "Bearer good"}) == 200


async def test_a_pool_that_is_not_there_is_not_ready(tmp_path: Path) -> None:
    cluster = FakeCluster()
    async with serving(cluster, FakeReviews()) as url:
        config = await asyncio.to_thread(kubeconfig, tmp_path, url)
        given = ["--pool-name=pool", "--pool-namespace=chat", f"--kubeconfig={config}", "--secure-serving=false"]
        async with running(*given) as line:
            assert await gateway.check(line.health) == "NOT_SERVING"
            await cluster.apply("inference.networking.k8s.io", "inferencepools", made.pool("pool", 8000))
            async with asyncio.timeout(5):
                while await gateway.check(line.health) != "SERVING":
                    await asyncio.sleep(0.05)


# One line, and exit status 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ha-enable-leader-election=true"], "--ha-enable-leader-election: cannot be honoured when true"),
        (["--config", "a", "--grpc-port", "1"], "--config: does not go with --grpc-port: "),
        (["--grpc-port", "1", "--config=a"], "--config: does not go with --grpc-port: "),
        (["--pool-name=a", "--config-file=none.yaml"], "--config-file: none.yaml cannot be read"),
        (["--pool-name=a", "--config-text=kind: EndpointPickerConfig"], "--config-text:1: key 'apiVersion' is missing"),
        (["--no-such-flag"], "--no-such-flag: there is no such flag"),
        (["serve.yaml"], "'serve.yaml': expected a flag"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert picker_main(arguments) == 2
    lines = [each for each in capsys.readouterr().err.splitlines() if each.startswith("infscale-picker: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"infscale-picker: {said}")


def test_a_certificate_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], epp: Path) -> None:
    ports = on_free_ports().arguments
    assert picker_main([*ports, f"--config-file={epp}", "--cert-path=/none"]) == 1
    assert "the picker cannot serve with /none/tls.crt: cannot be read" in capsys.readouterr().err


def test_help_tells_of_the_reference_s_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        picker_main(["--help"])
    assert ended.value.code == 0
    assert "docs/reference-command-line.md" in "".join(capsys.readouterr().out.split())
