"""Which context of a kubeconfig counts, and what a plugin adds to it."""

from typing import Any

import pytest

from infscale.documents.strict_document import from_plain
from infscale.errors import ConfigError
from infscale.kube.api.kubeconfig import Chosen, choose


def document(**changes: Any) -> dict[str, Any]:
    return {
        "current-context": "one",
        "contexts": [
            {"name": "one", "context": {"cluster": "here", "user": "me"}},
            {"name": "two", "context": {"cluster": "there"}},
        ],
        "clusters": [
            {"name": "here", "cluster": {"server": "https://here"}},
            {"name": "there", "cluster": {"server": "https://there"}},
        ],
        "users": [{"name": "me", "user": {"token": "t"}}],
        **changes,
    }


def chosen(context: str | None = None, **changes: Any) -> Chosen:
    return choose(from_plain(document(**changes), "config", strict=False), context)


def test_the_current_context_counts_unless_another_is_chosen() -> None:
    found = [chosen(), chosen("two")]
    assert [(each.context, each.cluster["server"]) for each in found] == [
        ("one", "https://here"),
        ("two", "https://there"),
    ]
    assert [dict(each.user) for each in found] == [{"token": "t"}, {}]


def test_a_document_of_the_context_alone_chooses_the_same() -> None:
    found = chosen()
    again = choose(from_plain(found.document(), "config", strict=False), None)  # type: ignore[arg-type]
    assert (dict(again.cluster), dict(again.user)) == (dict(found.cluster), dict(found.user))


@pytest.mark.parametrize(
    ("context", "changes", "problem"),
    [
        ("three", {}, "there is no context 'three' in contexts; it has one, two"),
        (None, {"current-context": None}, "expected current-context"),
        (None, {"clusters": []}, "there is no cluster 'here' in clusters; it has none"),
        (None, {"clusters": [{"name": "here", "cluster": {}}]}, "key 'server' is missing"),
        (None, {"users": None}, "there is no user 'me' in users; it has none"),
        (None, {"contexts": [{"name": "one", "context": {}}]}, "key 'cluster' is missing"),
        (None, {"users": [{"name": "me", "user": {"auth-provider": {}}}]}, "auth-provider is not supported"),
    ],
)
def test_what_is_not_there_is_named(context: str | None, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        chosen(context, **changes)


def test_credentials_of_a_plugin_take_its_place() -> None:
    found = chosen(users=[{"name": "me", "user": {"exec": {"command": "login"}}}])
    assert found.plugin == {"command": "login"}
    having = found.having({"token": "new", "clientCertificateData": "c", "clientKeyData": "k"})
    assert having.plugin is None
    assert dict(having.user) == {"token": "new", "client-certificate-data": "Yw==", "client-key-data": "aw=="}
    with pytest.raises(ConfigError, match="neither a token nor a client certificate"):
        found.having({"clientCertificateData": "c"})


def test_credentials_are_never_shown() -> None:
    assert "'t'" not in repr(chosen())
