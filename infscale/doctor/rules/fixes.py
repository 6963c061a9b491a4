"""Shell commands that mend what was found. They are printed, never run."""

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from infscale.endpoint import ObjectKey

Operation = Mapping[str, Any]


def patch(resource: str, key: ObjectKey, change: Mapping[str, Any] | Iterable[Operation], kind: str = "json") -> str:
    """``kubectl patch`` with the operations of a JSON patch, or with a ``merge`` or ``strategic`` patch."""
    body = change if isinstance(change, Mapping) else [*change]
    return f"{_kubectl(key)} patch {resource} {_word(key.name)} --type={kind} -p {_json(body)}"


def replace(path: str, value: Any) -> Operation:
    """The operation that puts a value in the place of another."""
    return {"op": "replace", "path": path, "value": value}


def add(path: str, value: Any) -> Operation:
    """The operation that sets a value, or adds an item to a list at ``/-``."""
    return {"op": "add", "path": path, "value": value}


def remove(path: str) -> Operation:
    """The operation that removes a value."""
    return {"op": "remove", "path": path}


def delete(resource: str, key: ObjectKey) -> str:
    """``kubectl delete``."""
    return f"{_kubectl(key)} delete {resource} {_word(key.name)}"


def apply(*documents: Mapping[str, Any]) -> str:
    """``kubectl apply`` of documents in the shell's own text."""
    text = "---\n".join(yaml.safe_dump(dict(each), sort_keys=False, default_flow_style=None) for each in documents)
    return f"kubectl apply -f - <<'EOF'\n{text}EOF"


def rename(resource: str, key: ObjectKey, names: Mapping[str, str]) -> str:
    """Put new words in the place of old ones in the text of an object."""
    # Word by word: one name may be the beginning of another.
    return _edited(resource, key, (rf"s/\b{old}\b/{new}/g" for old, new in names.items()))


def substitute(resource: str, key: ObjectKey, setting: str, value: str) -> str:
    """Change a number in YAML that is a text of an object."""
    return _edited(resource, key, (rf"s/\b{setting}: *[0-9.]+/{setting}: {value}/",))


def _edited(resource: str, key: ObjectKey, scripts: Iterable[str]) -> str:
    words = " ".join(f"-e {_word(each)}" for each in scripts)
    get = f"{_kubectl(key)} get {resource} {_word(key.name)} -o json"
    return f"{get} | sed -E {words} | kubectl replace -f -"


def recreate(resource: str, key: ObjectKey, change: Mapping[str, Any]) -> str:
    """Make a workload anew with a change that the API server takes of no existing one; its pods restart."""
    get = f"{_kubectl(key)} get {resource} {_word(key.name)} -o json"
    changed = f"kubectl patch --local -f - --type=merge -p {_json(change)} -o json"
    return f"{get} | {changed} | kubectl replace --force -f -"


def restart(key: ObjectKey) -> str:
    """Restart a Deployment's pods."""
    return f"{_kubectl(key)} rollout restart deployment {_word(key.name)}"


def raw(path: str) -> str:
    """Ask what the HPA controller asks."""
    return f"kubectl get --raw {_word(path)}"


def look(key: ObjectKey, *words: str) -> str:
    """A command that shows more, where nothing can be mended without knowing it."""
    return " ".join((_kubectl(key), *map(_word, words)))


def _kubectl(key: ObjectKey) -> str:
    return f"kubectl -n {_word(key.namespace)}" if key.namespace else "kubectl"


def _word(text: str) -> str:
    return shlex.quote(text)


def _json(value: object) -> str:
    return shlex.quote(json.dumps(value, separators=(",", ":")))
