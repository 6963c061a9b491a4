"""The scheduling configuration changes while it serves: good versions apply at once, bad ones change nothing."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import grpc.aio
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from infscale.cli.main import main
from infscale.config.read import load_config
from infscale.errors import ConfigError
from infscale.serving.composition import Serving, clock, serving
from infscale.serving.scheduling import SchedulingFile, check_change
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.telemetry.counts import ReloadCollector
from tests.fakes.samples import engine_sample
from tests.picker.transport import gateway

HEAD = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
QUEUE = HEAD + "plugins: [{type: queue-scorer}]\n"
KV = HEAD + "plugins: [{type: kv-cache-utilization-scorer}]\n"
PREFIX = HEAD + "plugins: [{type: prefix-cache-scorer}]\n"
BAD = HEAD + "plugins:\n- {type: queue-scorer}\n- {type: kv-scorer}\n"
DETECTOR = "saturationDetector: {pluginRef: utilization-detector}\n"
FULL_AT_2 = HEAD + "plugins: [{type: utilization-detector, parameters: {queueDepthThreshold: 2}}]\n" + DETECTOR
PARSERS = HEAD + "plugins: [{type: queue-scorer}]\nrequestHandler: {parsers: [{pluginRef: anthropic-parser}]}\n"
DISCOVERED = HEAD + "plugins: [{type: file-discovery, parameters: {path: FILE, watchFile: WATCH}}]\n"
DISCOVERY = "dataLayer: {discovery: {pluginRef: file-discovery}}\n"
FIRST, SECOND = "127.0.0.1:1", "127.0.0.1:2"
PROMPT = "all work and no play makes jack a dull boy " * 40


class ConfigMap:
    """A folder mounted of a ConfigMap: the file is a link into a link that is swapped."""

    def __init__(self, folder: Path, text: str) -> None:
        self._folder = folder
        self._version = 0
        self.path = folder / "epp.yaml"
        self.swap(text)
        self.path.symlink_to(Path("..data", "epp.yaml"))

    def swap(self, text: str) -> None:
        self._version += 1
        version = self._folder / f"..version_{self._version}"
        version.mkdir()
        (version / "epp.yaml").write_text(text)
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self._folder / "..data")


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)


# One file


class Followed:
    """A file that is followed at a quick pace, and the configurations that were applied."""

    def __init__(self, path: Path, refuses: BaseException | None = None) -> None:
        self.file = SchedulingFile(path, 0.01)
        self.applied: list[PickerConfig] = []
        self._refuses = refuses

    def apply(self, config: PickerConfig) -> None:
        if self._refuses is not None:
            raise self._refuses
        self.applied.append(config)

    @asynccontextmanager
    async def following(self) -> AsyncGenerator[None]:
        await self.file.first()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.file.follow(self.apply))
            yield
            task.cancel()

    def page(self) -> dict[str, float]:
        registry = CollectorRegistry()
        registry.register(ReloadCollector(self.file.stats))
        lines = generate_latest(registry).decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


async def test_a_bad_version_is_said_and_shown_until_a_good_one_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    mounted = ConfigMap(tmp_path, QUEUE)
    followed = Followed(mounted.path)
    stats = followed.file.stats
    async with followed.following():
        assert (stats.succeeded, stats.applied, stats.refused) == (True, 0, 0)
        started_with = stats.digest
        await asyncio.to_thread(mounted.swap, BAD)
        await eventually(lambda: stats.refused == 1)
        assert followed.page()["infscale_picker_config_last_reload_success"] == 0
        assert (followed.applied, stats.digest) == ([], started_with)
        await asyncio.to_thread(mounted.swap, KV)
        await eventually(lambda: stats.applied == 1)
        await asyncio.to_thread(mounted.swap, QUEUE)
        await eventually(lambda: stats.applied == 2)
    assert stats.digest == started_with
    assert followed.page() == {
        "infscale_picker_config_last_reload_success": 1,
        'infscale_picker_config_reloads_total{outcome="applied"}': 2,
        'infscale_picker_config_reloads_total{outcome="refused"}': 1,
        f'infscale_picker_config_info{{sha256="{started_with}"}}': 1,
    }
    (refused,) = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    # The words are check's, place and cause included.
    await asyncio.to_thread(mounted.swap, BAD)
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["check", str(mounted.path)]) == 2
    words = capsys.readouterr().err.removeprefix("infscale: ").strip()
    assert f"{mounted.path}:5: plugins[1].type: there is no plugin type 'kv-scorer'" in words
    assert refused == f"changed picker configuration refused, the one before stays in force: {words}"


@pytest.mark.parametrize(
    ("refuses", "words"),
    [
        (
            ConfigError("epp.yaml:3", "saturationDetector", "differs"),
            "stays in force: epp.yaml:3: saturationDetector: differs",
        ),
        (ValueError("secret"), "internal error in reading it (ValueError at "),
    ],
    ids=["does not fit", "a plugin's fault"],
)
async def test_what_cannot_be_applied_is_refused_and_following_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, refuses: Exception, words: str
) -> None:
    path = tmp_path / "epp.yaml"
    path.write_text(QUEUE)
    followed = Followed(path, refuses)
    stats = followed.file.stats
    async with followed.following():
        for count, text in enumerate((KV, PREFIX), start=1):
            await asyncio.to_thread(path.write_text, text)
            await eventually(lambda expected=count: stats.refused == expected)
    assert (stats.succeeded, stats.applied) == (False, 0)
    assert words in caplog.text
    assert "secret" not in caplog.text


async def test_a_file_that_goes_and_comes_back_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "epp.yaml"
    path.write_text(QUEUE)
    followed = Followed(path)
    async with followed.following():
        await asyncio.to_thread(path.unlink)
        await eventually(lambda: followed.file.stats.refused == 1)
        await asyncio.to_thread(path.write_text, QUEUE)
        await eventually(lambda: followed.file.stats.succeeded)
    assert f"{path}: cannot be read: No such file or directory" in caplog.text


def discovered(file: str, watch: str = "true") -> str:
    return DISCOVERED.replace("FILE", file).replace("WATCH", watch) + DISCOVERY


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        pytest.param(QUEUE, KV, None, id="none"),
        pytest.param(discovered("a.yaml"), "\n" + discovered("a.yaml"), None, id="the same"),
        pytest.param(discovered("a.yaml"), discovered("b.yaml"), "epp.yaml:4", id="another file"),
        pytest.param(discovered("a.yaml"), discovered("a.yaml", "false"), "epp.yaml:4", id="no longer watched"),
        pytest.param(
            discovered("a.yaml"),
            discovered("a.yaml").replace("file-disc", "multicluster-file-disc"),
            "epp.yaml:4",
            id="clusters",
        ),
        pytest.param(discovered("a.yaml"), QUEUE, "epp.yaml", id="gone"),
        pytest.param(QUEUE, discovered("a.yaml"), "epp.yaml:4", id="new"),
    ],
)
def test_where_endpoints_come_from_needs_a_restart(before: str, after: str, place: str | None) -> None:
    old, new = (load_picker_config(text, "epp.yaml") for text in (before, after))
    if place is None:
        check_change(old, new, Path("epp.yaml"))
        return
    with pytest.raises(ConfigError, match=r"dataLayer\.discovery: .*cannot change while running; restart") as caught:
        check_change(old, new, Path("epp.yaml"))
    assert caught.value.place == place


# Serving


@asynccontextmanager
async def served(folder: Path, text: str, **sections: object) -> AsyncGenerator[tuple[Serving, ConfigMap]]:
    """The picker by the configuration `text`, on two endpoints of which nothing is scraped."""
    mount = folder / "mounted"
    mount.mkdir()
    mounted = ConfigMap(mount, text)
    endpoints = [{"name": f"a-{port}", "address": "127.0.0.1", "port": port} for port in (1, 2)]
    (folder / "discovery.yaml").write_text(yaml.safe_dump({"endpoints": endpoints}))
    document = {
        "discovery": {"file": "discovery.yaml", "poll_interval_seconds": 0.02},
        "scrape": {"interval_seconds": 10, "staleness_limit_seconds": 60},
        "picker": {"listen": "127.0.0.1:0", "config_file": "mounted/epp.yaml"},
        "telemetry": {"listen": "127.0.0.1:0"},
        **sections,
    }
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(document))
    async with serving(await asyncio.to_thread(load_config, path), {"picker"}) as running:
        first, second = running.store.discovery.endpoints
        # The first has the shorter queue, the second the emptier cache.
        running.store.record_scrape(first.key, engine_sample(0.0, 0.0, 0.7), clock())
        running.store.record_scrape(second.key, engine_sample(3.0, 0.0, 0.1), clock())
        yield running, mounted


async def destination(channel: grpc.aio.Channel, prompt: str = "hello", path: str = "/v1/completions") -> str:
    """Where a request is sent, or the status it is answered with."""
    stream = gateway.open_stream(channel)
    await stream.write(gateway.headers((":path", path), (":method", "POST")))
    await stream.write(gateway.body(json.dumps({"model": "m", "prompt": prompt}).encode()))
    answer = await gateway.answer(stream)
    stream.cancel()
    if not answer.HasField("request_headers"):
        return str(answer.immediate_response.status.code)
    mutation = answer.request_headers.response.header_mutation
    found = {each.header.key: each.header.raw_value.decode() for each in mutation.set_headers}
    return found["x-gateway-destination-endpoint"]


async def metric(running: Serving, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{running.telemetry.url}/metrics") as response:
        text = await response.text()
    return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


async def becomes(running: Serving, name: str, value: float) -> None:
    async with asyncio.timeout(5):
        while await metric(running, name) != value:
            await asyncio.sleep(0.02)


async def test_requests_go_on_while_the_configuration_changes(tmp_path: Path) -> None:
    async with (
        served(tmp_path, QUEUE) as (running, mounted),
        grpc.aio.insecure_channel(f"127.0.0.1:{running.transport.port if running.transport else 0}") as channel,
    ):
        assert await destination(channel) == FIRST
        success = "infscale_picker_config_last_reload_success"
        chosen: list[str] = []
        over = asyncio.Event()

        async def ask_on() -> None:
            while not over.is_set():
                chosen.append(await destination(channel))

        async with asyncio.TaskGroup() as group:
            group.create_task(ask_on())
            await asyncio.to_thread(mounted.swap, BAD)
            await becomes(running, success, 0)
            assert set(chosen) == {FIRST}
            await asyncio.to_thread(mounted.swap, KV)
            await becomes(running, success, 1)
            over.set()
        # Every request got an answer, by the old configuration up to some moment and by the new one from then on.
        change = chosen.index(SECOND) if SECOND in chosen else len(chosen)
        assert set(chosen[:change]) == {FIRST}
        assert set(chosen[change:]) <= {SECOND}
        assert await destination(channel) == SECOND


async def test_what_is_known_of_caches_outlives_a_change(tmp_path: Path) -> None:
    async with (
        served(tmp_path, KV) as (running, mounted),
        grpc.aio.insecure_channel(f"127.0.0.1:{running.transport.port if running.transport else 0}") as channel,
    ):
        prompts = [f"{number}. {PROMPT}" for number in range(10)]
        assert {await destination(channel, prompt) for prompt in prompts} == {SECOND}
        second = running.store.discovery.endpoints[1]
        running.store.record_scrape(second.key, engine_sample(3.0, 0.0, 0.9), clock())
        assert await destination(channel) == FIRST
        await asyncio.to_thread(mounted.swap, PREFIX)
        await becomes(running, 'infscale_picker_config_reloads_total{outcome="applied"}', 1)
        # By nothing but the prefix; without one, chance decides.
        assert {await destination(channel, prompt) for prompt in prompts} == {SECOND}


async def test_parsers_and_saturation_change_too(tmp_path: Path) -> None:
    async with (
        served(tmp_path, QUEUE) as (running, mounted),
        grpc.aio.insecure_channel(f"127.0.0.1:{running.transport.port if running.transport else 0}") as channel,
    ):
        (before,) = running.store.snapshots()
        await asyncio.to_thread(mounted.swap, FULL_AT_2)
        await becomes(running, "infscale_pool_saturated_endpoints", 1)
        assert before.saturated(clock()).sum() == 0
        await asyncio.to_thread(mounted.swap, PARSERS)
        await becomes(running, 'infscale_picker_config_reloads_total{outcome="applied"}', 2)
        assert await destination(channel) == "404"
        await becomes(running, "infscale_pool_saturated_endpoints", 0)


async def test_a_version_that_the_main_configuration_contradicts_is_refused_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pools = {"default/default": {"saturation": {"queue_depth_threshold": 9}}}
    async with served(tmp_path, QUEUE, pools=pools) as (running, mounted):
        await asyncio.to_thread(mounted.swap, FULL_AT_2)
        await becomes(running, "infscale_picker_config_last_reload_success", 0)
        assert await metric(running, "infscale_pool_saturated_endpoints") == 0
    assert "saturation differs from what" in caplog.text
    assert f"{mounted.path}:3: plugins[0]: " in caplog.text
