"""What of a kubeconfig counts: one context, its cluster, its user.

Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from infscale.documents.strict_document import Field, Plain
from infscale.errors import ConfigError

PlainMapping = Mapping[str, Plain]


@dataclass(frozen=True, slots=True, repr=False)
class Chosen:
    """One context of a kubeconfig. `plugin` says how to run the program that has the credentials; None: there is none.

    `user` and `plugin` hold credentials and are never shown.
    """

    place: str
    context: str
    cluster: PlainMapping
    user: PlainMapping
    plugin: PlainMapping | None

    def document(self) -> dict[str, object]:
        """A kubeconfig of this context alone."""
        return {
            "current-context": self.context,
            "contexts": [{"name": self.context, "context": {"cluster": "chosen", "user": "chosen"}}],
            "clusters": [{"name": "chosen", "cluster": dict(self.cluster)}],
            "users": [{"name": "chosen", "user": dict(self.user)}],
        }

    def having(self, status: Mapping[str, object]) -> "Chosen":
        """The same with the credentials that the plugin gave: an ``ExecCredential``'s status.

        Raises `ConfigError` where it gave none.
        """
        user = {key: value for key, value in self.user.items() if key != "exec"}
        token, certificate, key = (_text(status.get(each)) for each in _PLUGIN_KEYS)
        if token is not None:
            user["token"] = token
        if certificate is not None and key is not None:
            user["client-certificate-data"] = base64.b64encode(certificate.encode()).decode()
            user["client-key-data"] = base64.b64encode(key.encode()).decode()
        elif token is None:
            raise ConfigError(
                self.place, "exec", "the plugin gave neither a token nor a client certificate with its key"
            )
        return replace(self, user=user, plugin=None)


_PLUGIN_KEYS = ("token", "clientCertificateData", "clientKeyData")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def choose(root: Field, context: str | None) -> Chosen:
    """The context of that name, None: the current one. Raises `ConfigError`."""
    top = root.entries()
    name = context
    if name is None:
        current = top.get("current-context")
        if current is None or current.is_null or not current.text(empty=True):
            root.refuse("expected current-context, or a context chosen in the configuration")
        name = current.text()
    chosen = _named(root, top, "contexts", "context", name)
    parts = chosen.entries()
    if "cluster" not in parts:
        chosen.refuse("key 'cluster' is missing")
    cluster = _named(root, top, "clusters", "cluster", parts["cluster"].text())
    if "server" not in cluster.entries():
        cluster.refuse("key 'server' is missing")
    user = parts.get("user")
    named = None if user is None or user.is_null else user.text(empty=True)
    credentials = _mapping(_named(root, top, "users", "user", named)) if named else {}
    if "auth-provider" in credentials:
        root.refuse("auth-provider is not supported; use an exec plugin instead")
    plugin = credentials.get("exec")
    return Chosen(root.place, name, _mapping(cluster), credentials, plugin if isinstance(plugin, dict) else None)


def _mapping(field: Field) -> PlainMapping:
    field.entries()
    return cast("PlainMapping", field.plain())


def _named(root: Field, top: Mapping[str, Field], section: str, key: str, name: str) -> Field:
    """The entry of `section` with that name."""
    names: list[str] = []
    listed = top.get(section)
    for item in () if listed is None or listed.is_null else listed.items():
        entry = item.entries()
        names.append(entry["name"].text() if "name" in entry else "")
        if names[-1] == name and key in entry:
            return entry[key]
    known = ", ".join(names) if names else "none"
    root.refuse(f"there is no {key} {name!r} in {section}; it has {known}")
