"""Hostile discovery files and picker configurations: the last good state stays, and no other request notices."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hostile.harness import Installed, installed

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(60)]

GOOD_PICKER = "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\nplugins: [{type: queue-scorer}]\n"
REFUSED = "discovery file refused, the last good state stays: "
PICKER_REFUSED = "changed picker configuration refused, the one before stays in force: "
MIB = 1 << 20


@pytest.fixture(name="followed", scope="module")
def _followed(tmp_path_factory: pytest.TempPathFactory) -> Generator[Installed, None, None]:
    folder = tmp_path_factory.mktemp("followed")
    (folder / "epp.yaml").write_text(GOOD_PICKER)
    with installed(folder, picker={"config_file": "epp.yaml"}, discovery={"poll_interval_seconds": 0.05}) as made:
        yield made


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def restored(path: Path) -> Generator[None, None, None]:
    """The file as it was, whatever has become of it."""
    before = path.read_bytes()
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            remove(path)
        path.write_bytes(before)


def said_of(followed: Installed, words: str, since: int) -> list[str]:
    return [line for line in followed.serve.said()[since:].splitlines() if words in line]


# What the file holds

FULL = (
    "endpoints:\n" + "".join(f"- {{name: a{n}, address: 10.{n >> 8}.{n & 255}.1, port: 1}}\n" for n in range(30_000))
)[: MIB - 100].rpartition("\n")[0]
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

CONTENT: dict[str, tuple[str | bytes, str]] = {
    "aliases of aliases": (LAUGHS, ":6: not valid YAML: aliases make the document larger than 1000000 values"),
    "one endpoint 100,000 times": (
        "endpoints:\n- &a {name: a, address: 10.0.0.1, port: 1}\n" + "- *a\n" * 100_000,
        ":2: endpoints: expected at most 10000 elements, got 100001",
    ),
    "an alias of itself": ("endpoints: &a [*a]\n", ":1: not valid YAML: "),
    "more than 1 MiB": ("endpoints: []\n" + "#" * MIB, ": expected at most 1048576 bytes"),
    "100,000 endpoints": (FULL + "\n" + FULL * 4, ": expected at most 1048576 bytes"),
    "1 MiB of endpoints": (FULL, ":2: endpoints: expected at most 10000 elements, got "),
    "deep lists": ("endpoints: " + "[" * 500_000, ": not valid YAML: "),
    "deep mappings": ("- " * 500_000, ": not valid YAML: nested too deeply"),
    "a key twice": ("endpoints: []\nendpoints: []\n", ":2: key 'endpoints' is given twice"),
    "10,000 unknown keys": ("{" + ",".join(f"k{n}: 1" for n in range(10_000)) + "}", ":1: k0: unknown key; "),
    "5,000 bad endpoints": ("endpoints:\n" + "- {name: A, port: 0}\n" * 5_000, ":2: endpoints[0]: key 'address' is"),
    "ranks of one pod": (
        "endpoints:\n" + "".join(f"- {{name: a, address: 10.0.0.1, port: {n}}}\n" for n in [*range(1, 4001), 1]),
        ":4002: endpoints[4000]: endpoint default/a is given twice, first at ",
    ),
    "a tag": ("endpoints: !!python/object/apply:os.system [id]\n", ":1: not valid YAML: tags are not allowed"),
    "a NUL byte": (b"endpoints:\n- \0\n", ":2: not valid YAML: control characters are not allowed"),
    "a name with a newline and an escape sequence": (
        'endpoints:\n- {name: "a\\nERROR fake: line\\u001b[2J", address: 10.0.0.1, port: 1}\n',
        ":2: endpoints[0].name: expected at most 253 of a–z, 0–9, '-' and '.', such as vllm-0, got 'a\\nERROR fake: ",
    ),
    "a name of a megabyte": ("endpoints: [{name: " + "a" * 1_000_000 + ", address: 10.0.0.1, port: 1}]", "…'"),
    "not UTF-8": (b"endpoints: [\xff\xfe]\n", ": not UTF-8 text: byte 13"),
    "a file that is cut off": ('{"endpoints": [{"name": "a", "addr', ":1: not valid YAML: "),
    "an empty file": ("", ": expected one YAML document, found 0"),
    "another document": ("apiVersion: v1\nkind: Secret\ndata: {token: c2VjcmV0}\n", ":1: apiVersion: unknown key"),
}


@pytest.mark.parametrize("name", CONTENT)
async def test_a_hostile_file_is_refused_with_its_place_and_the_last_good_state_stays(
    followed: Installed, name: str
) -> None:
    content, cause = CONTENT[name]
    since = len(followed.serve.said())
    with restored(followed.discovery):
        async with followed.during(least_seconds=0.4):
            written(followed.discovery, content)
            await followed.until(lambda: bool(said_of(followed, REFUSED, since)))
    line = said_of(followed, REFUSED, since)[0]
    assert f"{followed.discovery}{cause}" in line or (cause == "…'" and cause in line)
    assert len(line) < 1500
    assert "\x1b" not in followed.serve.said()
    assert not [each for each in followed.serve.said()[since:].splitlines() if each.startswith("ERROR fake")]


def written(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


# What stands in the file's place


@dataclass(frozen=True)
class Place:
    """Puts something else where the file was."""

    put: Callable[[Path], object]
    cause: str


PLACES: dict[str, Place] = {
    "no file": Place(lambda path: None, "cannot be read: No such file or directory"),
    "a folder": Place(Path.mkdir, "expected a regular file"),
    "a pipe without a writer": Place(os.mkfifo, "expected a regular file"),
    "an endless device": Place(lambda path: path.symlink_to("/dev/zero"), "expected a regular file"),
    "a link to itself": Place(lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    # The kernel's own log: a regular file that has nothing to read until something happens, or no right to.
    "a system file whose read blocks": Place(lambda path: path.symlink_to("/proc/kmsg"), ""),
    "a file that cannot be read": Place(lambda path: path.symlink_to("/proc/self/mem"), "cannot be read: "),
}


@pytest.mark.parametrize("name", PLACES)
async def test_what_is_no_file_is_refused_without_waiting_for_it(followed: Installed, name: str) -> None:
    place = PLACES[name]
    since = len(followed.serve.said())
    with restored(followed.discovery):
        async with followed.during(least_seconds=0.4):
            remove(followed.discovery)
            place.put(followed.discovery)
            await followed.until(lambda: bool(said_of(followed, REFUSED, since)))
    assert any(place.cause in line for line in said_of(followed, REFUSED, since))


async def test_a_file_that_never_rests_is_read_when_it_does(followed: Installed) -> None:
    """A writer without pause: what is half there is not believed, and the log does not fill."""
    since, refused = len(followed.serve.said()), followed.metric("infscale_discovery_refusals_total")
    good, stop = followed.discovery.read_bytes(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.002):
            number += 1
            followed.discovery.write_bytes(good + b"# %d\n" % number if number % 2 else good[: number % len(good)])

    writer = threading.Thread(target=write)
    with restored(followed.discovery):
        async with followed.during(least_seconds=1.5) as attack:
            writer.start()
            before = len(followed.prober.probes)
            await followed.until(lambda: len(followed.prober.probes) >= before + 100)
            stop.set()
            await asyncio.to_thread(writer.join)
    assert attack.probes
    assert len(said_of(followed, REFUSED, since)) <= 40
    assert followed.metric("infscale_discovery_refusals_total") >= refused


async def test_files_renamed_over_it_all_the_time_leave_no_descriptor(followed: Installed) -> None:
    """As a mounted ConfigMap is changed, hundreds of times."""
    good = followed.discovery.read_bytes()
    before = descriptors(followed)
    with restored(followed.discovery):
        async with followed.during(least_seconds=0.4):
            await asyncio.to_thread(_rename, followed.discovery, good)
    assert descriptors(followed) <= before + 5


def descriptors(followed: Installed) -> int:
    return len(os.listdir(f"/proc/{followed.serve.process.pid}/fd"))


def _rename(path: Path, good: bytes) -> None:
    fresh = path.with_suffix(".fresh")
    for number in range(400):
        fresh.write_bytes(good + b"# %d\n" % number)
        fresh.rename(path)


# The picker's configuration is followed like it

PICKERS: dict[str, tuple[str | bytes, str]] = {
    "aliases of aliases": (LAUGHS, ":6: not valid YAML: aliases make the document larger than 1000000 values"),
    "5,000 gates": (GOOD_PICKER + "featureGates:\n" + "- x\n" * 5_000, ":5: featureGates[0]: expected name"),
    "plugins that refer to each other": (
        "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\nplugins: &p [{type: queue-scorer, parameters: *p}]\n",
        ":3: not valid YAML: ",
    ),
    "a type of a megabyte": (
        "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\nplugins: [{type: " + "q" * 1_000_000 + "}]\n",
        ":3: plugins[0].type: there is no plugin type 'qqq",
    ),
    "a number of 100,000 digits": (
        GOOD_PICKER.replace("queue-scorer", f"load-aware-scorer, parameters: {{threshold: {'9' * 100_000}}}"),
        ":3: plugins[0].parameters.threshold: expected a finite number in plain decimal",
    ),
}


@pytest.mark.parametrize("name", PICKERS)
async def test_a_hostile_picker_configuration_leaves_the_one_before_in_force(followed: Installed, name: str) -> None:
    content, cause = PICKERS[name]
    path = followed.folder / "epp.yaml"
    since = len(followed.serve.said())
    with restored(path):
        async with followed.during(least_seconds=0.4):
            written(path, content)
            await followed.until(lambda: bool(said_of(followed, PICKER_REFUSED, since)))
    line = said_of(followed, PICKER_REFUSED, since)[0]
    assert f"{path}{cause}" in line
    assert len(line) < 1500


async def test_after_all_of_it_a_good_change_is_followed(followed: Installed) -> None:
    with restored(followed.discovery):
        followed.discover({"name": "late", "address": "127.0.0.1", "port": 9, "phase": "starting"})
        await followed.until(lambda: "default/late" in followed.page())
