"""Access to a cluster as a kubeconfig or the pod this runs in says; `kubernetes.aio` is imported here alone.

Importing it costs some 45 MiB of memory, so this module is imported only where a cluster is configured. Its loaders
read files without giving way, hence the threads; it runs credential plugins.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.exec_provider import ExecProvider
from kubernetes.aio.config.incluster_config import InClusterConfigLoader
from kubernetes.aio.config.kube_config import ConfigNode, KubeConfigLoader
from yarl import URL

from infscale.documents.strict_document import load
from infscale.errors import ConfigError
from infscale.kube.api.client import KubeClient
from infscale.kube.api.credentials import Found, Keeper, Tls
from infscale.kube.api.kubeconfig import Chosen, choose
from infscale.process.tasks import running

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_MAX_FILE_BYTES = 4 * 1024 * 1024
_PLUGIN_SECONDS = 60.0
_EXPIRY_MARGIN = timedelta(seconds=60)
_REFRESH_SECONDS = 30.0
# A connection whose other end vanished without a word is given up after 15 + 3 × 5 s; a watch may be silent for long.
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000))


@asynccontextmanager
async def cluster(
    kubeconfig: Path | None, context: str | None = None, *, refresh_seconds: float = _REFRESH_SECONDS
) -> AsyncGenerator[KubeClient, None]:
    """A client of the API server that a context of a kubeconfig names (None: the current one; without a kubeconfig that
    of the cluster this runs in); its credentials are looked for again every `refresh_seconds`.

    Raises `ConfigError` where there is no way in: no file, no such context, not in a cluster, unusable credentials.
    """
    origin = InCluster() if kubeconfig is None else Kubeconfig(kubeconfig, context)
    keeper = Keeper(origin, asyncio.get_running_loop().time)
    server = await keeper.load()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60.0, socket_factory=_socket)
    async with (
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
        running(keeper.follow(refresh_seconds)),
    ):
        yield KubeClient(session, URL(server), keeper)


class InCluster:
    """The service account of the pod this runs in. The kubelet rotates its token, so it is read every time."""

    def __init__(self, environ: Mapping[str, str] | None = None, folder: Path = SERVICE_ACCOUNT) -> None:
        self._environ = os.environ if environ is None else environ
        self._folder = folder

    async def find(self, *, anew: bool) -> Found:
        """As `Origin.find`."""
        del anew
        return await asyncio.to_thread(self._find)

    def _find(self) -> Found:
        loader = InClusterConfigLoader(
            str(self._folder / "token"), str(self._folder / "ca.crt"), try_refresh_token=False, environ=self._environ
        )
        configuration = Configuration()
        try:
            loader.load_and_set(configuration)
            return _found(configuration, "kubernetes")
        except (ConfigException, OSError, ValueError) as error:
            cause = str(error).rstrip(".")
            problem = f"this does not run in a pod of a cluster ({cause}); name a kubeconfig"
            raise ConfigError("kubernetes", "kubeconfig", problem) from None


class Kubeconfig:
    """One context of a kubeconfig; guards what was read of it and what its plugin said."""

    def __init__(
        self, path: Path, context: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._path = path
        self._context = context
        self._now = now
        # The file as it was last read, and what of it counts.
        self._read: tuple[str, Chosen] | None = None
        # What the plugin gave and until when it is good; None: until it is refused.
        self._answer: tuple[Chosen, datetime | None] | None = None

    async def find(self, *, anew: bool) -> Found:
        """As `Origin.find`: the file and those it names are read again, the plugin is run when it is time."""
        text = await asyncio.to_thread(_text, self._path)
        if self._read is None or self._read[0] != text:
            self._read = text, await asyncio.to_thread(self._parse, text)
            self._answer = None
        chosen = self._read[1]
        if chosen.plugin is not None:
            chosen = await self._asked(chosen, chosen.plugin, anew)
        return await asyncio.to_thread(_resolve, chosen, self._path.parent)

    def _parse(self, text: str) -> Chosen:
        return choose(load(text, str(self._path)), self._context)

    async def _asked(self, chosen: Chosen, plugin: Mapping[str, Any], anew: bool) -> Chosen:
        if self._answer is not None and not anew:
            known, until = self._answer
            if until is None or self._now() < until:
                return known
        try:
            async with asyncio.timeout(_PLUGIN_SECONDS):
                status = await ExecProvider(ConfigNode("exec", dict(plugin))).run()
        except TimeoutError:
            raise ConfigError(chosen.place, "exec", f"the plugin took longer than {_PLUGIN_SECONDS:g} s") from None
        except (ConfigException, OSError) as error:
            raise ConfigError(chosen.place, "exec", f"the plugin failed: {error}") from None
        given = chosen.having(status)
        self._answer = given, _good_until(status)
        return given


def _good_until(status: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(status["expirationTimestamp"]) - _EXPIRY_MARGIN
    except (KeyError, TypeError, ValueError):
        return None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) <= _MAX_FILE_BYTES:
            return content.decode()
    except OSError as error:
        raise ConfigError(str(path), "", f"the kubeconfig cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "", f"not UTF-8 text: byte {error.start + 1}") from None
    raise ConfigError(str(path), "", f"expected a kubeconfig of at most {_MAX_FILE_BYTES} bytes")


def _resolve(chosen: Chosen, base: Path) -> Found:
    """What `chosen` comes to, with the files it names read; relative ones start at `base`."""
    loader = KubeConfigLoader(config_dict=chosen.document(), config_base_path=str(base))
    configuration = Configuration()
    try:
        _at_once(loader.load_and_set(configuration))
        found = _found(configuration, chosen.place)
    except (ConfigException, OSError, ValueError) as error:
        raise ConfigError(chosen.place, f"context {chosen.context}", str(error)) from None
    if found.tls is not None and found.tls.certificate is None and found.authorization is None:
        problem = "it has no credentials; its user needs a token, a client certificate or an exec plugin"
        raise ConfigError(chosen.place, f"context {chosen.context}", problem)
    return found


def _at_once(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing: with its plugin gone, a kubeconfig's only reads files."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise ValueError("its credentials are of a kind that is not supported")


def _found(configuration: Configuration, place: str) -> Found:
    server: str = configuration.host
    url = URL(server)
    if url.scheme not in {"http", "https"} or url.host is None:
        raise ConfigError(place, "server", f"expected an http or https URL, got {server!r}")
    proxy: str | None = configuration.proxy
    if proxy is not None and URL(proxy).scheme not in {"http", "https"}:
        raise ConfigError(place, "proxy-url", "expected an http or https URL; other proxies are not supported")
    return Found(
        server,
        _authorization(configuration.api_key.get("BearerToken"), place),
        _tls(configuration) if url.scheme == "https" else None,
        configuration.tls_server_name or None,
        proxy,
    )


def _authorization(value: str | None, place: str) -> str | None:
    """The header's value: the loaders write the scheme in either case, and files end in line breaks."""
    scheme, _, secret = (value or "").partition(" ")
    secret = secret.strip()
    if not secret:
        return None
    if not secret.isascii() or not secret.isprintable():
        raise ConfigError(place, "token", "it has characters that no header can have")
    return f"{scheme.capitalize()} {secret}"


def _tls(configuration: Configuration) -> Tls:
    ca_file, certificate_file, key_file = configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file
    return Tls(
        Path(ca_file).read_text() if ca_file else None,
        certificate_file or None,
        key_file or None,
        Path(certificate_file).read_bytes() if certificate_file else None,
        Path(key_file).read_bytes() if key_file else None,
        configuration.verify_ssl,
    )


def _socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
