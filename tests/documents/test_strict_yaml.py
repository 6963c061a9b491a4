"""YAML as nodes: what strict files may not have, and numbers and characters as JSON writes them."""

import pytest
import yaml

from infscale.documents.strict_yaml import compose


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("!!python/object:os.system a", "tags are not allowed"),
        ("a: !mine b", "tags are not allowed"),
        ("&a [*a]", "an alias may not contain itself"),
        (r'"\ud83d"', "half of a pair"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{k}: &{k} [{', '.join([f'*{b}'] * 10)}]\n" for b, k in zip("abcdef", "bcdefg", strict=True)),
            "aliases make the document larger than 1000000 values",
        ),
    ],
    ids=["a type's tag", "a tag", "a ring", "half a character", "laughs"],
)
def test_what_no_file_needs_is_refused(text: str, problem: str) -> None:
    with pytest.raises(yaml.YAMLError, match=problem):
        list(compose(text))


@pytest.mark.parametrize("lead", ["", r'"\ud83d\ude00", '], ids=["LibYAML", "PyYAML"])
def test_both_parsers_read_alike(lead: str) -> None:
    [node] = compose(f"[{lead}1e5, 1.5, yes, text, '1']")
    assert isinstance(node, yaml.SequenceNode)
    tags = [each.tag.rpartition(":")[2] for each in node.value]
    assert tags[-5:] == ["float", "float", "bool", "str", "str"]
    if lead:
        assert node.value[0].value == "😀"


def test_an_alias_that_stays_small_is_the_node_it_names() -> None:
    [node] = compose("a: &here [1]\nb: *here\n")
    assert isinstance(node, yaml.MappingNode)
    (_, first), (_, second) = node.value
    assert first is second


def test_each_document_of_a_text_is_given() -> None:
    assert [node.value for node in compose("a\n---\nb\n")] == ["a", "b"]
