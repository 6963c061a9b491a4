import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from infscale.discovery.apart import APART_BYTES
from infscale.discovery.file import FileDiscovery, log_refusal
from infscale.discovery.state import read_state
from infscale.documents.strict_document import Field
from infscale.documents.watched_file import MAX_FILE_BYTES
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.errors import ConfigError, ConfigErrors


def document(*names: str) -> str:
    return json.dumps({"endpoints": [{"name": n, "address": f"10.0.0.{i}", "port": 1} for i, n in enumerate(names, 1)]})


def endpoint_names(state: DiscoveryState) -> list[str]:
    return [endpoint.key.name for endpoint in state.endpoints]


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


async def write(path: Path, text: str) -> None:
    await asyncio.to_thread(replace, path, text)


async def write_in_place(path: Path, text: str) -> None:
    await asyncio.to_thread(path.write_text, text)


class Watch:
    """A `FileDiscovery` at a quick pace, its refusals, and its states one by one."""

    def __init__(self, path: Path, settle_seconds: float = 0.01) -> None:
        self.refused: asyncio.Queue[ConfigError] = asyncio.Queue()
        self.discovery = FileDiscovery(
            path, interval_seconds=0.01, settle_seconds=settle_seconds, on_refusal=self.refused.put_nowait
        )
        self.states: AsyncIterator[DiscoveryState] = self.discovery.states()

    async def next(self) -> list[str]:
        return endpoint_names(await anext(self.states))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "discovery.yaml"
    path.write_text(document("a"))
    return path


async def test_the_first_state_comes_at_once_and_fits_the_interface(path: Path) -> None:
    read = partial(read_state, default_pool=ObjectKey("default", "chat"))
    discovery = FileDiscovery(path, read=read, interval_seconds=3600)
    state = await anext(discovery.states())
    assert endpoint_names(state) == ["a"]
    assert str(state.pools[0].key) == "default/chat"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("endpoints: [", ":1: not valid YAML: "),
        ("endpoints:\n- {name: a}", ":2: endpoints[0]: key 'address' is missing"),
        ("a: \udcff", ": not UTF-8 text: byte 4"),
        ("", ": expected one YAML document, found 0"),
        (" " * (MAX_FILE_BYTES + 1), ": expected at most 1048576 bytes"),
    ],
    ids=["yaml", "object", "encoding", "empty", "large"],
)
async def test_a_bad_file_at_the_start_is_an_error(path: Path, text: str, message: str) -> None:
    await asyncio.to_thread(path.write_bytes, text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        await anext(FileDiscovery(path).states())
    assert str(caught.value).startswith(f"{path}{message}")


async def test_a_missing_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing.yaml: cannot be read: No such file or directory$"):
        await anext(FileDiscovery(tmp_path / "missing.yaml").states())


async def test_a_folder_or_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    await asyncio.to_thread(os.mkfifo, tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match=r"expected a regular file$"):
            await anext(FileDiscovery(path).states())


async def test_a_file_of_the_largest_size_is_read(path: Path) -> None:
    await write(path, document("a").ljust(MAX_FILE_BYTES))
    assert await Watch(path).next() == ["a"]


async def test_an_edit_in_place_is_seen(path: Path) -> None:
    watch = Watch(path)
    assert await watch.next() == ["a"]
    await write_in_place(path, document("a", "b"))
    assert await watch.next() == ["a", "b"]


async def test_an_edit_that_keeps_size_and_time_is_seen(path: Path) -> None:
    def edit() -> None:
        before = path.stat()
        path.write_text(document("b"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    watch = Watch(path)
    await watch.next()
    await asyncio.to_thread(edit)
    assert await watch.next() == ["b"]


async def test_an_atomic_rename_is_seen(path: Path) -> None:
    watch = Watch(path)
    await watch.next()
    await write(path, document("b"))
    assert await watch.next() == ["b"]


async def test_a_swapped_symbolic_link_to_the_folder_is_seen(tmp_path: Path) -> None:
    """How a mounted ConfigMap changes: ..data points to another folder, the file's own link stays."""

    def mount() -> None:
        for folder, name in (("one", "a"), ("two", "b")):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "discovery.yaml").write_text(document(name))
        (tmp_path / "..data").symlink_to("one")
        (tmp_path / "discovery.yaml").symlink_to("..data/discovery.yaml")

    def swap() -> None:
        (tmp_path / "..tmp").symlink_to("two")
        (tmp_path / "..tmp").rename(tmp_path / "..data")

    await asyncio.to_thread(mount)
    watch = Watch(tmp_path / "discovery.yaml")
    assert await watch.next() == ["a"]
    await asyncio.to_thread(swap)
    assert await watch.next() == ["b"]


async def test_a_bad_edit_is_refused_and_counted_while_the_last_good_state_stays(path: Path) -> None:
    watch = Watch(path)
    await watch.next()
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(watch.next())
        await write(path, "endpoints:\n- {name: a, port: 1}")
        error = await watch.refused.get()
        assert str(error) == f"{path}:2: endpoints[0]: key 'address' is missing"
        assert (watch.discovery.refusals, watch.discovery.problem) == (1, error)
        assert not following.done()
        await write(path, document("b"))
    assert following.result() == ["b"]
    assert (watch.discovery.refusals, watch.discovery.problem) == (1, None)
    assert watch.refused.empty()


async def test_a_removed_file_is_a_refusal_and_its_return_a_change(path: Path) -> None:
    watch = Watch(path)
    await watch.next()
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(watch.next())
        await asyncio.to_thread(path.unlink)
        assert str(await watch.refused.get()) == f"{path}: cannot be read: No such file or directory"
        await write(path, document("b"))
    assert following.result() == ["b"]


async def test_an_edit_that_changes_nothing_gives_no_state(path: Path) -> None:
    read: list[DiscoveryState] = []

    def noted(field: Field) -> DiscoveryState:
        read.append(read_state(field))
        return read[-1]

    states = FileDiscovery(path, read=noted, interval_seconds=0.01, settle_seconds=0.01).states()

    async def following_state() -> DiscoveryState:
        return await anext(states)

    await following_state()
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(following_state())
        await write(path, "# a comment\n" + document("a"))
        while len(read) < 2:
            await asyncio.sleep(0.001)
        await write(path, document("c"))
    assert [endpoint_names(each) for each in read] == [["a"], ["a"], ["c"]]
    assert following.result() is read[2]


async def test_a_file_still_being_written_is_not_taken_for_a_shorter_one(path: Path) -> None:
    """Half of a list is a valid list, so only a settled file counts."""
    watch = Watch(path, settle_seconds=0.1)
    await watch.next()
    text = "endpoints:\n"
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(watch.next())
        for i in range(40):
            text += f"- {{name: n{i}, address: 10.0.0.{i + 1}, port: 1}}\n"
            await write_in_place(path, text)
            await asyncio.sleep(0.001)
    assert len(following.result()) == 40


def test_a_refusal_is_logged_unless_somebody_takes_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        log_refusal(ConfigError("f:2", "endpoints[0]", "key 'address' is missing"))
    assert "f:2: endpoints[0]: key 'address' is missing" in caplog.text


@pytest.mark.timeout(60)
async def test_a_large_file_is_read_as_a_small_one_is(path: Path) -> None:
    """In another process, with the same state and the same refusals."""
    example = (Path(__file__).parents[2] / "manifests" / "examples" / "discovery.yaml").read_text()
    small = await anext(FileDiscovery(await _written(path, example)).states())
    padded = example + "# a comment that makes it large\n" * 3000
    assert len(padded) > APART_BYTES
    assert await anext(FileDiscovery(await _written(path, padded)).states()) == small
    wrong = "endpoints:\n" + "- {name: A, address: 10.0.0.1, port: 1}\n" * 2000
    with pytest.raises(ConfigErrors) as caught:
        await anext(FileDiscovery(await _written(path, wrong)).states())
    assert caught.value.lines()[0].startswith(f"{path}:2: endpoints[0].name: expected at most 253")
    assert len(caught.value.lines()) == 101


async def _written(path: Path, text: str) -> Path:
    await asyncio.to_thread(path.write_text, text)
    return path
