"""Other ways to set up a real Envoy Gateway: strict, for the reference's command line, and one that it refuses."""

from pathlib import Path

import pytest
import yaml

from infscale.demo.child_processes import free_ports
from infscale.errors import StartError
from tests.cli.test_reference_line import running
from tests.gateway.documents import Here, example, on_this_machine
from tests.gateway.running import envoy_gateway
from tests.gateway.stages import NAMES, fleet, gateway, prompt, stage

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(90)]

REQUESTS = 12
MANY_REQUESTS = 60
"""Of so many any of three servers gets some, by chance."""
EPP = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {name: file, type: file-discovery, parameters: {path: FILE}}
- {type: header-based-testing-filter}
- {type: max-score-picker}
schedulingProfiles:
- name: default
  plugins: [{pluginRef: header-based-testing-filter}, {pluginRef: max-score-picker}]
dataLayer: {discovery: {endpoints: {pluginRef: file}}}
"""


async def test_strictly_a_request_goes_where_the_picker_says_or_nowhere(tmp_path: Path) -> None:
    examples = ("envoy-gateway", "envoy-gateway-strict")
    async with stage(tmp_path, examples, known=1) as made:
        async with made.picker(tmp_path) as picker:
            answers = [await made.client.ask(prompt(number)) for number in range(MANY_REQUESTS)]
            assert {answer.status for answer in answers} == {200}
            assert [answer.server for answer in answers] == picker.chosen
            assert set(picker.chosen) == set(NAMES)
        # Its metrics are another's, so that the picker takes it for alive.
        (port,) = free_ports(1)
        metrics = made.fleet.servers[0].port
        dead = {"name": "dead", "address": "127.0.0.1", "port": port, "metricsPort": metrics}
        async with made.picker(tmp_path, {"endpoints": [dead]}) as picker:
            answer = await made.client.ask("hello")
            assert (answer.status, "upstream connect error" in answer.text) == (503, True)
            assert picker.chosen == ["dead"]


async def test_the_reference_s_command_line_serves_as_it_is(tmp_path: Path) -> None:
    async with fleet() as servers:
        (tmp_path / "endpoints.yaml").write_text(yaml.safe_dump(servers.discovery_document()))
        (tmp_path / "epp.yaml").write_text(EPP.replace("FILE", str(tmp_path / "endpoints.yaml")))
        (listen,) = free_ports(1)
        async with running("--config-file", str(tmp_path / "epp.yaml")) as line:
            ports = [server.port for server in servers.servers]
            here = Here(listen, line.grpc, ports, tls=True, trusted=["test-epp-endpoint-selection"])
            async with gateway(tmp_path, here) as client:
                for number in range(REQUESTS):
                    server = servers.servers[number % len(NAMES)]
                    wanted = {"test-epp-endpoint-selection": f"127.0.0.1:{server.port}"}
                    answer = await client.ask("hello", wanted)
                    assert (answer.status, answer.server) == (200, server.settings.name)


async def test_fail_open_is_refused_beside_full_duplex(tmp_path: Path) -> None:
    listen, picker, server = free_ports(3)
    documents = on_this_machine(example("envoy-gateway"), Here(listen, picker, [server]))
    [policy] = [each for each in documents if each["kind"] == "EnvoyExtensionPolicy"]
    policy["spec"]["extProc"][0]["failOpen"] = True
    with pytest.raises(StartError, match="FailOpen must be false"):
        async with envoy_gateway(tmp_path, documents, listen):
            pass
