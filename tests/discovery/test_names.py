"""Names and labels as Kubernetes allows them."""

from collections.abc import Callable
from typing import Any

import pytest

from infscale.discovery.names import is_name, is_namespace, labels, name, namespace, object_key
from infscale.documents.strict_document import Field, from_plain
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "as_name", "as_namespace"),
    [
        ("vllm-0", True, True),
        ("a.b", True, False),
        ("a" * 63, True, True),
        ("a" * 64, True, False),
        ("a" * 254, False, False),
        ("A", False, False),
        ("-a", False, False),
        ("a-", False, False),
        ("a..b", False, False),
        ("", False, False),
        ("a\n", False, False),
    ],
)
def test_names_are_subdomains_and_namespaces_are_labels_of_dns(text: str, as_name: bool, as_namespace: bool) -> None:
    assert (is_name(text), is_namespace(text)) == (as_name, as_namespace)


def test_a_key_is_a_namespace_and_a_name() -> None:
    assert object_key(from_plain("default/chat", "f")) == ObjectKey("default", "chat")


@pytest.mark.parametrize(
    ("read", "value", "problem"),
    [
        (name, "A", "expected at most 253 of"),
        (namespace, "a.b", "expected a namespace"),
        (object_key, "chat", "expected namespace/name, such as default/chat"),
        (object_key, "a/b/c", "expected namespace/name, such as default/chat"),
        (labels, {"a b": "c"}, "a label name has"),
        (labels, {"a": "b c"}, "a label value has"),
    ],
)
def test_the_form_that_is_expected_is_said(read: Callable[[Field], object], value: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read(from_plain(value, "f"))


def test_labels_may_be_empty_and_other_keys_are_passed_over() -> None:
    assert dict(labels(from_plain({"app": "", "port": 5}, "f"), besides=("port",))) == {"app": ""}
