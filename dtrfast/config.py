"""Settings: frozen records, and the only place that reads them from a file and the environment.

`load` merges defaults, a TOML file, `DTRFAST_SECTION_FIELD` variables and command-line options, in
this order. An unknown setting or an invalid value stops the start, so no server runs with a
misspelled setting. Sizes are in bytes, durations in seconds. `docs/operations.md` lists all fields;
a test compares them.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dtrfast.errors import ConfigInvalid

_PREFIX = "DTRFAST_"
# Command-line options whose names differ from their fields' names.
_OPTIONS = {
    "auth.mode": "--auth",
    "server.tls": "--tls",
    "server.tls_cert": "--tls-cert",
    "server.tls_key": "--tls-key",
}
_FILE_VARIABLE = "DTRFAST_CONFIG"  # the path of the file
_TOKEN_VARIABLE = "DTRFAST_TOKEN"  # read by commands
_PROFILE_VARIABLE = "DTRFAST_PROFILE"  # read by commands
TEST_ASSEMBLY = "DTRFAST_TEST_ASSEMBLY"  # for tests: see docs/development.md
# All other variables with the prefix must be settings.
_NO_SETTINGS = (_FILE_VARIABLE, _TOKEN_VARIABLE, _PROFILE_VARIABLE, TEST_ASSEMBLY)
# Variables that Kubernetes sets for a Service, and docker for a link, whose name is dtrfast or
# dtrfast-SOMETHING.
_PLATFORM_VARIABLE = re.compile(
    r"DTRFAST_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|ENV_\w+"
    r"|PORT_\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_ADDR|(?:_PORT)?(?:_START|_END)?))"
)
# The names of these variables look like a mistyped setting (DTRFAST_PORT=5000). Their values tell
# the difference: the address of a port, or the names of both ends of a link.
_PLATFORM_VALUES = [
    (re.compile(r"DTRFAST_(?:\w+_)?PORT"), re.compile(r"(?:tcp|udp|sctp)://\S+:\d+")),
    (re.compile(r"DTRFAST_(?:\w+_)?NAME"), re.compile(r"/[^/\s]+/[^/\s]+")),
]


_match_origin = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?"
).fullmatch

_match_proxy = re.compile(r"http://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})/?").fullmatch

_Count = Annotated[int, Meta(ge=1, le=1_000_000)]
_Seconds = Annotated[float, Meta(gt=0, le=86_400 * 3_650)]


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Listening, TLS, proxies, and the limits of connections and transfers."""

    # The address to listen on, HOST:PORT or [IPv6]:PORT. A loopback address serves this machine
    # only.
    bind: str = "127.0.0.1:5000"
    # A certificate in PEM, followed by its intermediate certificates. If it is set, all connections
    # use TLS. Empty: see `tls`.
    tls_cert: str = ""
    # The certificate's private key in PEM, without a passphrase.
    tls_key: str = ""
    # "auto": an address that other machines can reach uses TLS; if no certificate is given, the
    # first start makes one. "off": plain HTTP, for example behind a proxy.
    tls: Literal["auto", "off"] = "auto"
    # Certificate authorities in PEM. If set, a client needs a certificate that one of them signed.
    tls_client_ca: str = ""
    # Offer HTTP/2 to TLS clients as well. HTTP/1.1 moves blobs faster.
    http2: bool = False
    # Processes that answer requests. 0 means one for each core that this process may use, by its
    # affinity and its CPU quota, if there are 192 MiB of memory for each.
    workers: Annotated[int, Meta(ge=0, le=1024)] = 0
    # Threads in each worker for operations that wait for the disk.
    threads_per_worker: Annotated[int, Meta(ge=1, le=1024)] = 40
    # The time that an idle connection stays open. Go clients reuse connections for 30 to 120
    # seconds; a request that is sent while the server closes the connection fails.
    keep_alive_seconds: _Seconds = 120.0
    # The longest request line and headers together. Tokens with many scopes take tens of kilobytes.
    head_size_max: Annotated[int, Meta(ge=8192, le=1 << 24)] = 131_072
    # Concurrent connections of a worker. Each takes a file descriptor, and five more while it moves
    # a blob. Further connections are answered with 503; clients may retry.
    connections_max: _Count = 12_000
    # The time that transfers may continue after a stop was requested. Then they are cut. Uploads
    # keep the bytes that they have.
    graceful_stop_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 30.0
    # A transfer is cut if the client has moved no byte for this long.
    idle_body_seconds: _Seconds = 60.0
    # Use the fast path for small answers and for the bytes of blobs. The answers are the same
    # without it.
    lanes: bool = True
    # The URL by which clients reach the registry, such as https://registry.example. It occurs in
    # tokens, in the self-made certificate, and in addresses in answers. Empty: taken from requests.
    external_url: Annotated[str, Meta(pattern=r"^(https?://[^/\s\"]+)?$")] = ""
    # The origins of web pages that may use the v2 API and the token service from a browser (CORS),
    # such as https://ui.example, or * for all. Empty: only pages of this server.
    cors_origins: tuple[str, ...] = ()
    # The networks of trusted proxies. Their headers X-Forwarded-For, -Proto, -Host and -Port, or
    # Forwarded, describe the client. From other addresses these headers are ignored.
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    # "required": each connection must begin with a PROXY header (v1 or v2) of a trusted proxy,
    # before TLS; other connections are closed. "off": no connection has one.
    proxy_protocol: Literal["off", "required"] = "off"
    # The time for which browsers use only https with this host and all its ports (HSTS). It is sent
    # only with a given certificate. 0 makes browsers forget it.
    hsts_seconds: Annotated[int, Meta(ge=0, le=86_400 * 3_650)] = 2_592_000


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """The data directory, and the times after which unused data is removed."""

    # The data directory, on a local file system. It has all state of the registry.
    data: Path = Path("./data")
    # An upload that receives no bytes for this long is removed.
    upload_expiry_seconds: _Seconds = 86_400.0
    # The time that a blob is kept after it lost its last reference.
    grace_seconds: Annotated[float, Meta(ge=0, le=86_400 * 3_650)] = 86_400.0


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """The rules and limits of the registry API."""

    # Allow the deletion of tags, manifests and blobs.
    delete: bool = True
    # Accept a manifest only if its blobs are in the repository already.
    require_blobs: bool = True
    # Accept an index only if its manifests are in the repository already.
    require_children: bool = True
    # The most entries in one page of tags or of the catalog.
    page_size_max: _Count = 1000
    # The largest accepted manifest. Clients refuse manifests of more than 4 MiB.
    manifest_size_max: Annotated[int, Meta(ge=65_536, le=1 << 26)] = 4_194_304
    # The most uploads that one user may have open in a repository. In all repositories together a
    # user may have ten times as many.
    open_uploads_max: Annotated[int, Meta(ge=1, le=10_000)] = 1000


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The access log on standard output, messages on standard error, and the audit log in the data
    directory.
    """

    # "text": readable lines. "json": one JSON object a line.
    format: Literal["text", "json"] = "text"
    # The lowest level of messages that are written.
    level: Literal["debug", "info", "warning", "error"] = "info"
    # Write a line for each request.
    access: bool = True
    # The most bytes on disk of all audit events together. The oldest events are removed.
    audit_size_max: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 268_435_456


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Accounts and tokens."""

    # "managed": the registry keeps accounts and checks permissions. "none": every client may do
    # everything.
    mode: Literal["managed", "none"] = "managed"
    # The lifetime of an access token. A request that has begun may finish after its token expires.
    token_seconds: Annotated[int, Meta(ge=60, le=86_400)] = 900
    # Directories of token files for issuers that require a token (`bearerTokenFile`).
    # Administrators can name files in these directories, and no other files of this machine.
    token_file_directories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutgoingConfig:
    """Calls of the registry to other services (docs/outgoing.md)."""

    # Private networks, such as 10.1.0.0/16, whose addresses repository owners may enter. Other
    # private addresses are refused.
    allow: tuple[str, ...] = ()
    # The proxy for calls over HTTP, as http://HOST:PORT. Empty: no proxy. Variables such as
    # HTTPS_PROXY are ignored.
    proxy: str = ""
    # Hosts that are called without the proxy: names (including their subdomains), addresses, and
    # networks.
    no_proxy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting's name and value. `origin` is the source of the value: "default", FILE:LINE, the
    variable or the option.
    """

    name: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. A process builds them once and passes them to constructors."""

    server: ServerConfig = field(default_factory=ServerConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
    log: LogConfig = field(default_factory=LogConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    outgoing: OutgoingConfig = field(default_factory=OutgoingConfig)
    # The sources of values that are not defaults, by dotted name.
    origins: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def settings(self) -> Iterator[Setting]:
        """Yield all settings, in the order of the sections."""
        for name in NAMES:
            section, key = name.split(".")
            value = getattr(getattr(self, section), key)
            yield Setting(name, value, self.origins.get(name, "default"))

    def describe(self) -> str:
        """Return a TOML file that `load` accepts, with the origin of each setting as a comment."""
        lines: list[str] = []
        section = ""
        for setting in self.settings():
            head, key = setting.name.split(".")
            if head != section:
                section = head
                lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
            # Strings, numbers, booleans and lists of strings are the same in JSON and TOML.
            value = msgspec.json.encode(setting.value, enc_hook=str).decode()
            lines.append(f"{key} = {value}  # {setting.origin}")
        return "\n".join(lines)

    def encode(self) -> bytes:
        """Return the settings as JSON for a child process, which calls `decode`."""
        return msgspec.json.encode(self, enc_hook=str)

    @staticmethod
    def decode(data: bytes) -> Config:
        """Return the settings that `encode` encoded."""
        return msgspec.json.decode(data, type=Config, dec_hook=_convert_path)


_SECTIONS: Mapping[str, type] = {
    "server": ServerConfig,
    "store": StoreConfig,
    "registry": RegistryConfig,
    "log": LogConfig,
    "auth": AuthConfig,
    "outgoing": OutgoingConfig,
}

# Dotted name → type annotation, of all settings.
NAMES: Mapping[str, object] = {
    f"{section}.{key}": hint
    for section, kind in _SECTIONS.items()
    for key, hint in typing.get_type_hints(kind, include_extras=True).items()
}


def load(
    path: Path | None, environ: Mapping[str, str], options: Mapping[str, object] | None = None
) -> Config:
    """Merge the settings: defaults, then the file, then variables, then `options`.

    The file is `path`, else the one that DTRFAST_CONFIG names. `options` are values by dotted name;
    None stands for an option that was not given. Raises `ConfigInvalid`, which names the file and
    line, the variable or the option.
    """
    if path is None and environ.get(_FILE_VARIABLE):
        path = Path(environ[_FILE_VARIABLE])
    sources = [] if path is None else [*_from_file(path)]
    sources += _from_environ(environ)
    for name, value in (options or {}).items():
        if value is not None:
            option = _OPTIONS.get(name, "--" + name.partition(".")[2])
            sources.append(Setting(name, value, option))
    values: dict[str, dict[str, object]] = {section: {} for section in _SECTIONS}
    origins: dict[str, str] = {}
    for setting in sources:
        section, key = setting.name.split(".")
        values[section][key] = _checked(setting)
        origins[setting.name] = setting.origin
    sections = {section: kind(**values[section]) for section, kind in _SECTIONS.items()}
    config = Config(**sections, origins=origins)
    server = config.server
    pair = ("server.tls_cert", "server.tls_key")
    given, missing = pair if server.tls_cert else reversed(pair)
    if bool(server.tls_cert) != bool(server.tls_key):
        raise ConfigInvalid(f"{config.origins[given]}: {given} needs {missing} too")
    if server.proxy_protocol == "required" and not server.trusted_proxies:
        raise ConfigInvalid(
            f"{config.origins['server.proxy_protocol']}: server.proxy_protocol is required, but no"
            " proxy could connect: add your proxy to server.trusted_proxies"
        )
    return config


def split_address(bind: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT` or `[IPv6]:PORT`. An empty host means all IPv4 addresses.

    Raises ValueError.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\s:\[\]/]*)):(\d{1,5})", bind)
    if match is None or int(match[3]) > 65_535:
        raise ValueError("expected HOST:PORT or [IPv6]:PORT")
    return match[1] or match[2] or "0.0.0.0", int(match[3])


def is_loopback_host(host: str) -> bool:
    """Return True if a host name or address is a loopback one, which no other machine reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_origin(origin: str) -> None:
    """Raise ValueError if no browser would send `origin`, so that it could never match."""
    match = _match_origin(origin)
    is_default = match is not None and (match[1], match[2]) in (("http", "80"), ("https", "443"))
    if origin != "*" and (match is None or is_default):
        raise ValueError(
            "expected * or origins as browsers send them, such as https://ui.example:8443: in lower"
            " case, without a path and without the scheme's default port"
        )


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Parse a network such as 10.0.0.0/8, or one address. Raises ValueError.

    IPv4-mapped IPv6 networks are returned as IPv4.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError("expected networks such as 10.0.0.0/8, or addresses") from error
    address, _, length = text.partition("/")
    if length and ipaddress.ip_address(address) != network.network_address:
        raise ValueError(f"expected {network} for the network, or {address} for the one address")
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def _check_outgoing(name: str, value: object) -> None:
    """Raise ValueError if a setting of outgoing calls or of token files is invalid."""
    entries = value if isinstance(value, tuple) else ()
    if name == "auth.token_file_directories" and not all(map(_is_plain_directory, entries)):
        raise ValueError("expected directories that begin with a slash, without ..")
    if name == "outgoing.allow":
        for entry in entries:
            parse_network(entry)
    if name == "outgoing.proxy" and value:
        match = _match_proxy(str(value))
        if match is None or not 0 < int(match[1]) < 65_536:
            raise ValueError("expected http://HOST:PORT, without a name and a password")
    if name == "outgoing.no_proxy" and not all(map(_is_bypass, entries)):
        raise ValueError("expected names such as example.org, addresses or networks, without ports")


def _is_plain_directory(path: str) -> bool:
    return path.startswith("/") and "\0" not in path and ".." not in path.split("/")


def _is_bypass(entry: str) -> bool:
    """Return True if an entry of `outgoing.no_proxy` is a network, an address or a name."""
    try:
        ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return re.fullmatch(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", entry) is not None
    return True


def external_host(config: Config) -> str:
    """Return the host, with the port if it has one, of `server.external_url`; empty if not set."""
    return config.server.external_url.partition("://")[2]


def _from_file(path: Path) -> Iterator[Setting]:
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path}: is not UTF-8 text: {error.reason}") from error
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"^(.*) \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        if match is None:
            raise ConfigInvalid(f"{path}: {error}") from error
        line = match[2] or str(text.count("\n") + 1)
        raise ConfigInvalid(f"{path}:{line}: {match[1]}") from error
    for section, table in document.items():
        where = f"{path}:{_line_of(text, section)}"
        if section not in _SECTIONS:
            raise ConfigInvalid(f"{where}: unknown section [{section}]; {_one_of(_SECTIONS)}")
        if not isinstance(table, dict):
            raise ConfigInvalid(f"{where}: {section}: expected a section [{section}]")
        for key, value in table.items():
            name = f"{section}.{key}"
            where = f"{path}:{_line_of(text, name)}"
            if name not in NAMES:
                known = [field.name for field in fields(_SECTIONS[section])]
                raise ConfigInvalid(f"{where}: unknown setting {name}; {_one_of(known)}")
            yield Setting(name, value, where)


def _from_environ(environ: Mapping[str, str]) -> Iterator[Setting]:
    variables = {_PREFIX + name.replace(".", "_").upper(): name for name in NAMES}
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX) or variable in _NO_SETTINGS:
            continue
        if variable in variables:
            yield Setting(variables[variable], _Text(environ[variable]), variable)
        elif not _is_of_platform(variable, environ[variable]):
            # Compared without the common prefix, which would make any two names similar.
            names = {name.removeprefix(_PREFIX): name for name in variables}
            near = difflib.get_close_matches(variable.removeprefix(_PREFIX), names, 1, 0.85)
            advice = "expected DTRFAST_SECTION_FIELD, such as DTRFAST_SERVER_BIND"
            if near:
                advice = f"did you mean {names[near[0]]}?"
            raise ConfigInvalid(f"unknown environment variable {variable}: {advice}")


def _is_of_platform(variable: str, value: str) -> bool:
    """Return True if Kubernetes set the variable for a Service, or docker for a link."""
    return _PLATFORM_VARIABLE.fullmatch(variable) is not None or any(
        name.fullmatch(variable) and form.fullmatch(value) for name, form in _PLATFORM_VALUES
    )


class _Text(str):
    """A value from the environment. Numbers, booleans and lists are parsed from its text."""

    __slots__ = ()


def _checked(setting: Setting) -> object:
    """Return the value in its field's type. Raises `ConfigInvalid`."""
    value = setting.value
    lax = isinstance(value, _Text)
    hint = NAMES[setting.name]
    if isinstance(value, _Text):
        is_list = typing.get_origin(hint) is tuple
        value = re.findall(r"[^\s,]+", value) if is_list else str(value)
    try:
        value = msgspec.convert(value, hint, strict=not lax, dec_hook=_convert_path)
        if setting.name == "server.bind":
            split_address(str(value))
        elif setting.name == "server.cors_origins":
            for origin in typing.cast(tuple[str, ...], value):
                check_origin(origin)
        elif setting.name == "server.trusted_proxies":
            for network in typing.cast(tuple[str, ...], value):
                parse_network(network)
        else:
            _check_outgoing(setting.name, value)
    except (msgspec.ValidationError, ValueError) as error:
        if typing.get_origin(hint) is Literal:
            expected = _one_of(typing.get_args(hint))
        else:
            reason = str(error).partition(", got")[0].replace("`", "")
            expected = reason.replace("Expected", "expected")
        raise ConfigInvalid(
            f"{setting.origin}: {setting.name}: {expected}, got {setting.value!r}"
        ) from error
    return value


def _one_of(names: Iterable[str]) -> str:
    return "expected one of " + ", ".join(names)


def _convert_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, (str, Path)) and str(value) and "\0" not in str(value):
        return Path(value)
    raise ValueError("expected a path")


def _line_of(text: str, name: str) -> int:
    """Return the line number of `section` or `section.key`, in any of TOML's spellings.

    This searches the text, because the parser keeps no positions. If the name is not found, the
    line is that of its section.
    """
    prefix = ""
    nearest = 1
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            prefix = _bare(header[1])
            here = prefix
        elif assignment := re.match(r"\s*([\w.\"' -]+?)\s*=", line):
            here = f"{prefix}.{_bare(assignment[1])}".removeprefix(".")
        else:
            continue
        if here == name or here.startswith(f"{name}."):
            return number
        if name.startswith(f"{here}."):
            nearest = number
    return nearest


def _bare(key: str) -> str:
    return re.sub(r"[\"'\s]", "", key)
