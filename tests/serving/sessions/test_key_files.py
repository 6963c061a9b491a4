"""Session keys come from a file, or from a folder as a mounted Secret has it."""

import os
from base64 import b64encode
from pathlib import Path

import pytest

from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError
from infscale.serving.picker_config import parse_picker_config
from infscale.serving.sessions.key_files import keys_at
from picker.sessions.session_tokens import Token, TokenKeys

SECRETS = [bytes([number]) * 32 for number in range(20)]
LINES = [b64encode(secret).decode() for secret in SECRETS]
POOL = ObjectKey("ns", "chat")
TOKEN = Token(b"e" * 12, b"s" * 8, 1, 2**31)


def test_the_first_line_of_a_file_signs(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{LINES[1]}\n{LINES[0]}\n")
    assert keys_at(tmp_path / "keys") == TokenKeys([SECRETS[1], SECRETS[0]])


def test_a_mounted_secret_has_its_keys_in_the_order_of_names(tmp_path: Path) -> None:
    """Its files are links into a folder that begins with a dot, and that is swapped as a whole."""
    data = tmp_path / "..2026_11_30"
    data.mkdir()
    (data / "2-before").write_text(LINES[0])
    (data / "1-now").write_text(LINES[1])
    (tmp_path / "..data").symlink_to(data.name)
    for name in ("1-now", "2-before"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    assert keys_at(tmp_path) == TokenKeys([SECRETS[1], SECRETS[0]])


def test_what_is_wrong_with_files_is_said_by_their_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"keys: cannot be read: No such file"):
        keys_at(tmp_path / "keys")
    with pytest.raises(ConfigError, match=r"there is no file in it"):
        keys_at(tmp_path)
    (tmp_path / "a").write_text(LINES[0])
    (tmp_path / "b").write_text(f"#\n{LINES[0]}")
    with pytest.raises(ConfigError, match=r"/b: one of its keys is in another file, too"):
        keys_at(tmp_path)
    (tmp_path / "b").write_text("nothing of this is said")
    with pytest.raises(ConfigError, match=r"/b:1: expected base64") as caught:
        keys_at(tmp_path)
    assert "nothing of this" not in str(caught.value)
    (tmp_path / "b").write_text("\n".join(LINES[1:]))
    with pytest.raises(ConfigError, match=r"expected at most 16 keys, there are 20"):
        keys_at(tmp_path)
    os.mkfifo(tmp_path / "c")
    (tmp_path / "b").unlink()
    with pytest.raises(ConfigError, match=r"/c: expected a regular file"):
        keys_at(tmp_path)


CONFIG = """apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
- type: session-affinity-filter
  parameters: {strategy: signed_token, signedTokenConfig: {keys: %s, header: x-s}}
- type: queue-scorer
"""


PLACE = r"^epp.yaml:5: plugins\[0\].parameters.signedTokenConfig.keys: "


def test_a_configuration_is_read_with_its_keys_and_refused_without(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with pytest.raises(ConfigError, match=PLACE + r".*/keys: cannot be read: No such file"):
        parse_picker_config(CONFIG % path, "epp.yaml")
    assert parse_picker_config(CONFIG % path, "epp.yaml", keys=False).session_keys == {}
    path.write_text(LINES[0])
    config = parse_picker_config(CONFIG % path, "epp.yaml")
    assert isinstance(config.session_keys[str(path)].open(POOL, TokenKeys(SECRETS[:1]).seal(POOL, TOKEN), 1.0), Token)
    assert SECRETS[0].hex() not in repr(config)
    assert LINES[0] not in repr(config)
