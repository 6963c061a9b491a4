"""A file that is looked at again and again: what counts as a change, and what a look is worth."""

import asyncio
import os
from pathlib import Path

import pytest

from infscale.documents.watched_file import MAX_FILE_BYTES, Look, WatchedFile, look_at, unreadable
from infscale.errors import ConfigError


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    return path


async def test_a_change_counts_once_two_looks_agree(path: Path) -> None:
    class Written(WatchedFile):
        """A file that is being written while it is looked at."""

        def __init__(self) -> None:
            super().__init__(path, 0.0, 0.0)
            self.left = [b"one", b"o", b"", b"on", b"two", b"two"]

        async def look(self) -> Look:
            return Look(self.left.pop(0))

    file = Written()
    assert await file.changed(Look(b"one")) == Look(b"two")
    assert file.left == []


async def test_a_link_that_is_swapped_is_a_change(path: Path, tmp_path: Path) -> None:
    link, other = tmp_path / "link", tmp_path / "other"
    link.symlink_to(path.name)
    other.write_bytes(b"two")
    file = WatchedFile(link, 0.001, 0.001)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(file.changed(await file.look()))
        (tmp_path / "new").symlink_to(other.name)
        (tmp_path / "new").rename(link)
    assert following.result() == Look(b"two")


def test_what_is_no_file_of_a_usable_size_has_a_problem(path: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(MAX_FILE_BYTES + 1))
    found = [look_at(each).problem for each in (path, tmp_path, tmp_path / "pipe", tmp_path / "none")]
    assert found == [
        "",
        "expected a regular file",
        "expected a regular file",
        "cannot be read: No such file or directory",
    ]
    assert look_at(tmp_path / "large").problem == f"expected at most {MAX_FILE_BYTES} bytes"
    assert unreadable(path) is None
    assert unreadable(tmp_path / "none") == "cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("look", "problem"),
    [(Look(problem="gone"), "f.yaml: gone"), (Look(b"a\xff"), "f.yaml: not UTF-8 text: byte 2")],
    ids=["a problem", "no text"],
)
def test_a_look_without_text_says_so(look: Look, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^{problem}$"):
        look.text("f.yaml")
