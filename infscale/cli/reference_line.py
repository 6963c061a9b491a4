"""`infscale-picker` with the reference endpoint picker's command line."""

import contextlib
import os
import tempfile
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infscale.cli.arguments import refuse_unreadable
from infscale.cli.serve import serve
from infscale.config.settings import ServeConfig
from infscale.errors import ConfigError
from infscale.process.certificates import self_signed
from infscale.process.listening import EVERY_ADDRESS, has_every_address
from infscale.reference import flags as reference_flags
from infscale.reference.go_flags import Flags
from infscale.reference.translation import IPV4_ADDRESSES, translate, with_certificate
from infscale.serving.picker_config import parse_picker_config, read_picker_config
from infscale.serving.scheduling import CONFIG_TEXT
from picker.epp_config.discovery_source import FileSource

_OWN = ("--config", "-config")
_LIFETIME = timedelta(days=3650)


def takes(arguments: Sequence[str]) -> bool:
    """Whether `arguments` are the reference's and not infscale's own.

    Raises `ConfigError` where ``--config`` stands beside flags of the reference.
    """
    if not arguments or any(each in {"-h", "--help", "--version"} for each in arguments):
        return False
    own = [place for place, each in enumerate(arguments) if each.partition("=")[0] in _OWN]
    if not own:
        return True
    others = [each for each in arguments if each.lstrip("-").partition("=")[0] in reference_flags.BY_NAME]
    if others:
        first = others[0].partition("=")[0]
        raise ConfigError("", "--config", f"does not go with {first}: its file says all that the reference's flags say")
    return False


def run(arguments: Sequence[str]) -> int:
    """Serve as the reference's flags say, as `infscale.cli.serve.serve`. Raises `ConfigError`."""
    flags = reference_flags.read(arguments)
    every_address = EVERY_ADDRESS if has_every_address() else IPV4_ADDRESSES
    translation = translate(flags, os.environ, _source(flags), every_address)
    with _certified(translation.config, translation.self_signed) as config:
        return serve(config, frozenset({"picker"}), translation.notes)


def _source(flags: Flags) -> FileSource | None:
    """The endpoints file that the `EndpointPickerConfig` names."""
    file, text = flags.text("config-file"), flags.text("config-text")
    if file:
        refuse_unreadable("--config-file", Path(file))
        source = read_picker_config(Path(file), keys=False).discovery
    else:
        source = parse_picker_config(text, CONFIG_TEXT, keys=False).discovery if text else None
    if source is not None:
        refuse_unreadable("dataLayer.discovery", source.path, source.place)
    return source


@contextlib.contextmanager
def _certified(config: ServeConfig, self_made: bool) -> Generator[ServeConfig, None, None]:
    """`config` with a certificate made for this block, where it takes one."""
    if not self_made:
        yield config
        return
    pair = self_signed("infscale-picker", datetime.now(UTC).replace(microsecond=0), _LIFETIME)
    # Transports take certificates as files; the folder is this user's alone and goes with the process.
    with tempfile.TemporaryDirectory(prefix="infscale-tls-") as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(pair.certificate)
        key.write_bytes(pair.key)
        yield with_certificate(config, certificate, key)
