"""``infscale doctor``: what it prints, its exit codes, and mistakes."""

import argparse
import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from infscale.cli import doctor
from infscale.cli.arguments import cluster_of
from infscale.cli.main import main
from infscale.config.read import read_config
from infscale.doctor.diagnosis import diagnosed
from infscale.documents.strict_document import load
from infscale.kube.api import cluster_access as access
from tests.doctor import healthy as made
from tests.doctor.reading.fake_api import CLUSTER
from tests.doctor.rules.test_rule_table import PLANTED


@asynccontextmanager
async def cluster(folder: Path, **documents: Any) -> AsyncGenerator[list[str]]:
    """Arguments that lead to an API server with the documents of a cluster."""
    found = {**CLUSTER, **documents}

    async def answer(request: web.Request) -> web.Response:
        document = found.get(request.raw_path.partition("?")[0])
        if document is None:
            return web.json_response({"code": 404, "message": "not found"}, status=404)
        return web.json_response(document)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "u", "user": {"token": "a-secret-token"}}],
    }
    path.write_text(yaml.safe_dump(document))
    try:
        yield ["--kubeconfig", str(path)]
    finally:
        await runner.cleanup()


async def ran(*arguments: str) -> int:
    """The exit code of a command, run beside this loop."""
    return await asyncio.to_thread(main, [*arguments])


async def test_a_diagnosis_is_printed_without_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with cluster(tmp_path) as place:
        code = await ran("doctor", *place)
    said = capsys.readouterr().out
    assert "infscale is not installed" in said
    assert "next     2 → 4 replicas (DesiredWithinRange)" in said
    assert "D401" not in said
    assert "D402" not in said
    assert code == 0, said
    assert "1 warning" in said, "the fake's values are old"
    assert "a-secret-token" not in said


async def test_what_it_cannot_look_at_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with cluster(tmp_path) as place:
        pass
    assert await ran("doctor", *place) == 2
    assert "infscale doctor: the API server at 127.0.0.1" in capsys.readouterr().err
    assert await ran("doctor", "--kubeconfig", str(tmp_path / "none")) == 2
    assert "the kubeconfig cannot be read" in capsys.readouterr().err


async def test_a_name_that_nothing_has_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with cluster(tmp_path) as place:
        assert await ran("doctor", *place, "vlm") == 2
    assert capsys.readouterr().err == (
        "infscale: arguments: NAME: there is no HPA, ScaledObject or InferencePool 'vlm'; did you mean vllm?\n"
    )


@pytest.mark.parametrize(
    ("code", "strict", "status"),
    [("", False, 0), ("D104", False, 1), ("D401", False, 0), ("D401", True, 1)],
    ids=["nothing", "an error", "a warning", "a warning that counts"],
)
def test_the_exit_code_says_whether_something_is_wrong(code: str, strict: bool, status: int) -> None:
    found = diagnosed(PLANTED[code]() if code else made.view())
    assert doctor.exit_code(found, strict=strict) == status


async def test_the_rights_of_discovery_are_those_of_the_configuration() -> None:
    """Of its namespaces, without conditions that it does not write and kinds that it can do without."""
    client: Any = None

    def needs(discovery: str) -> set[tuple[str, str, str | None]]:
        text = f"discovery: {discovery}\nkubernetes: {{}}\n"
        config = read_config(load(text, "serve.yaml"), Path("/"))
        return {(each.verb, each.resource, each.namespace) for each in doctor.discovery_needs(client, config)}

    everywhere = needs("{kubernetes: {}}")
    assert {("list", "pods", None), ("list", "namespaces", None)} <= everywhere
    assert any(verb == "patch" for verb, _, _ in everywhere)
    assert not {each for each in everywhere if each[1] in ("rollouts", "leaderworkersets")}
    own = "{resource: widgets.example.com, version: v1, kind: Widget}"
    found = needs(f"{{kubernetes: {{namespaces: [llm], write_status: false, workloads: [{own}]}}}}")
    assert {namespace for _, _, namespace in found} == {"llm"}
    assert {verb for verb, _, _ in found} == {"list", "watch"}
    assert ("list", "widgets", "llm") in found


def test_watching_prints_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    before, after = diagnosed(made.view()), diagnosed(PLANTED["D401"]())
    arguments = doctor_arguments("--watch")
    doctor.show_changes(before, before, arguments)
    assert capsys.readouterr().out == ""
    doctor.show_changes(before, after, arguments)
    assert "D401 warning: pods are killed before they have ended" in capsys.readouterr().out
    doctor.show_changes(before, after, doctor_arguments("--watch", "--json"))
    assert len(capsys.readouterr().out.splitlines()) == 1


def doctor_arguments(*words: str) -> Any:

    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    return parser.parse_args(words)


async def test_watching_looks_again_until_it_is_interrupted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes on; a cluster that is gone for one look ends nothing."""
    async with cluster(tmp_path) as place:
        arguments = doctor_arguments("--watch", "--interval", "0.01", *place)
        watching = asyncio.get_running_loop().create_task(
            doctor.watched(arguments, None, access.cluster(*cluster_of(arguments)))
        )
        said = ""
        async with asyncio.timeout(15):
            while "HPA llm/vllm" not in said:
                await asyncio.sleep(0.02)
                said += capsys.readouterr().out
    async with asyncio.timeout(15):
        err = ""
        while "the API server at" not in err:
            await asyncio.sleep(0.02)
            err += capsys.readouterr().err
    assert not watching.done()
    watching.cancel()
