import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.definitions import definitions

PUBLISHED: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "crd_fields.json").read_text())
"""The facts of the published definitions: names, versions, and every field with its type, limits and defaults."""

STRUCTURE = {"properties", "items", "additionalProperties", "required", "x-kubernetes-validations"}


def fields(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    facts = {key: value for key, value in node.items() if key not in STRUCTURE}
    if "x-kubernetes-validations" in node:
        facts["rules"] = sorted(each["rule"] for each in node["x-kubernetes-validations"])
    if "required" in node:
        facts["required"] = sorted(node["required"])
    yield path, facts
    for key, child in node.get("properties", {}).items():
        yield from fields(child, f"{path}.{key}")
    if "items" in node:
        yield from fields(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from fields(node["additionalProperties"], f"{path}{{}}")


def ours(group: str, kind: str) -> dict[str, Any]:
    [found] = [
        each["spec"]
        for each in definitions()
        if (each["spec"]["group"], each["spec"]["names"]["kind"]) == (group, kind)
    ]
    [version] = found["versions"]
    names = found["names"]
    return {
        "group": group,
        "kind": kind,
        "plural": names["plural"],
        "singular": names["singular"],
        "shortNames": names.get("shortNames", []),
        "scope": found["scope"],
        "version": version["name"],
        "served": version["served"],
        "storage": version["storage"],
        "status": "status" in version["subresources"],
        "fields": dict(fields(version["schema"]["openAPIV3Schema"])),
    }


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda each: f"{each['kind']}.{each['group']}")
def test_our_definition_is_the_published_one_without_its_prose(published: dict[str, Any]) -> None:
    assert ours(published["group"], published["kind"]) == published


def test_there_is_nothing_beside_the_published_ones() -> None:
    assert len(definitions()) == len(PUBLISHED)
