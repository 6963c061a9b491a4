"""Changed keys are in force at the next look, and keys that cannot be used change nothing."""

import asyncio
import logging
import random
from pathlib import Path

import pytest

from infscale.config.read import load_config
from infscale.metrics.store.metrics_store import MetricStore
from infscale.serving.deciding import Deciding
from infscale.serving.picker_config import read_picker_config
from infscale.serving.sessions.keys_watch import KeysWatch, SessionKeys
from picker.epp_config.loader import preset
from picker.sessions.session_tokens import TokenKeys
from tests.serving.sessions.test_key_files import CONFIG, LINES, SECRETS


def watched(folder: Path) -> tuple[Deciding, KeysWatch]:
    (folder / "keys").write_text(LINES[0])
    (folder / "epp.yaml").write_text(CONFIG % (folder / "keys"))
    (folder / "discovery.yaml").write_text("endpoints: []\n")
    (folder / "serve.yaml").write_text("discovery: {file: discovery.yaml}\npicker: {config_file: epp.yaml}\n")
    scheduling = read_picker_config(folder / "epp.yaml")
    config = load_config(folder / "serve.yaml")
    deciding = Deciding(config, scheduling, MetricStore("s"), lambda: 0.0, random.Random(1))
    return deciding, KeysWatch(deciding, 3_600.0, settle_seconds=0.0)


async def test_keys_are_changed_while_serving(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    deciding, watch = await asyncio.to_thread(watched, tmp_path)
    file = str(tmp_path / "keys")

    async def looked(text: str) -> TokenKeys:
        await asyncio.to_thread((tmp_path / "keys").write_text, text)
        await watch.refresh()
        return deciding.scheduling.session_keys[file]

    assert await looked(LINES[0]) == TokenKeys(SECRETS[:1])
    assert watch.counts == {"applied": 0, "refused": 0}
    assert await looked(f"{LINES[1]}\n{LINES[0]}") == TokenKeys([SECRETS[1], SECRETS[0]])
    for _ in range(3):
        assert await looked("secret stuff") == TokenKeys([SECRETS[1], SECRETS[0]])
    assert watch.counts == {"applied": 1, "refused": 1}
    assert await looked(LINES[1]) == TokenKeys([SECRETS[1]])
    assert watch.counts == {"applied": 2, "refused": 1}
    assert "keys:1: expected base64" in caplog.text
    assert "secret stuff" not in caplog.text
    assert LINES[1] not in caplog.text
    (family,) = [each for collector in SessionKeys(watch).collectors() for each in collector.collect()]
    assert {sample.labels["outcome"]: sample.value for sample in family.samples} == {"applied": 2.0, "refused": 1.0}


async def test_keys_that_were_not_read_with_the_configuration_are_at_the_first_look(tmp_path: Path) -> None:
    deciding, watch = await asyncio.to_thread(watched, tmp_path)
    deciding.change(await asyncio.to_thread(lambda: read_picker_config(tmp_path / "epp.yaml", keys=False)))
    await watch.refresh()
    assert deciding.scheduling.session_keys == {str(tmp_path / "keys"): TokenKeys(SECRETS[:1])}


async def test_without_sessions_nothing_is_read(tmp_path: Path) -> None:
    deciding, watch = await asyncio.to_thread(watched, tmp_path)
    deciding.change(preset("infscale"))
    (tmp_path / "keys").unlink()
    await watch.refresh()
    assert watch.counts == {"applied": 0, "refused": 0}
