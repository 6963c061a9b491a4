"""docs/architecture.md says what the code is."""

import re

from tests.docs.architecture import PAGE, ROOT, WAYS, renewed


def test_layers_ways_and_packages_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert renewed(page) == page, "renew it with: python -m tests.docs.architecture"
    assert all(f"## {section}\n" in page for section in ("Layers", *WAYS, "Packages"))


def test_files_and_folders_that_are_named_exist() -> None:
    named = re.findall(r"`((?:infscale|adapter|picker|tests|docs|manifests)/[\w/.]*)`", PAGE.read_text())
    assert len(named) > 50
    assert [each for each in named if not (ROOT / each).exists()] == []
