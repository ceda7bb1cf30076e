"""Settings: frozen records, and the one place that reads a file and the environment for them.

`load` merges defaults, a TOML file, `DTRFAST_SECTION_FIELD` variables and command-line options,
in this order. A setting that is unknown or cannot be honoured stops the start: nobody runs for
weeks with a misspelt one. Sizes are bytes, durations seconds. `docs/operations.md` lists every
field; a test compares.
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
# Options that are not called as their fields are.
_OPTIONS = {
    "auth.mode": "--auth",
    "server.tls": "--tls",
    "server.tls_cert": "--tls-cert",
    "server.tls_key": "--tls-key",
}
_FILE_VARIABLE = "DTRFAST_CONFIG"  # names the file
_TOKEN_VARIABLE = "DTRFAST_TOKEN"  # for commands; all others with the prefix are settings
TEST_ASSEMBLY = "DTRFAST_TEST_ASSEMBLY"  # for tests: see docs/development.md
_NO_SETTINGS = (_FILE_VARIABLE, _TOKEN_VARIABLE, TEST_ASSEMBLY)
# Variables that Kubernetes makes for a Service, and docker for a link, if it is called dtrfast or
# dtrfast-SOMETHING.
_PLATFORM_VARIABLE = re.compile(
    r"DTRFAST_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|ENV_\w+"
    r"|PORT_\d+_(?:TCP|UDP|SCTP)(?:_PROTO|_ADDR|(?:_PORT)?(?:_START|_END)?))"
)
# These look like a mistyped setting (DTRFAST_PORT=5000), but for their values: the address of a
# port, and the names of both ends of a link.
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
    """How requests come in."""

    # Where to listen, HOST:PORT or [IPv6]:PORT. A loopback address serves this machine only.
    bind: str = "127.0.0.1:5000"
    # A certificate in PEM, and what leads from it to the authority after it; then all connections
    # are TLS. Empty means plain HTTP.
    tls_cert: str = ""
    # The certificate's private key in PEM, without a passphrase.
    tls_key: str = ""
    # "auto": an address that others reach speaks TLS, with a certificate that the first start makes
    # if none is given. "off": plain HTTP there too, such as behind a proxy.
    tls: Literal["auto", "off"] = "auto"
    # Authorities in PEM. Then only clients with a certificate that one of them signed get in.
    tls_client_ca: str = ""
    # Offer HTTP/2 as well, to TLS clients that ask for it. HTTP/1.1 moves blobs faster.
    http2: bool = False
    # Processes that answer requests; 0 means one for each core this process may use.
    workers: Annotated[int, Meta(ge=0, le=1024)] = 0
    # Threads in each worker for what waits for the disk.
    threads_per_worker: Annotated[int, Meta(ge=1, le=1024)] = 40
    # How long an idle connection stays open. Go clients reuse theirs for 30 to 120 seconds, and a
    # request that meets a closing connection fails.
    keep_alive_seconds: _Seconds = 120.0
    # Longest request line and headers together; tokens with many scopes take tens of kilobytes.
    head_size_max: Annotated[int, Meta(ge=8192, le=1 << 24)] = 131_072
    # Connections that a worker serves at a time; each takes a file descriptor, and five more while
    # it moves a blob. Further ones are answered 503 and may come again.
    connections_max: _Count = 12_000
    # How long transfers may go on after a stop was asked for. Then they are cut; uploads keep
    # what they have.
    graceful_stop_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 30.0
    # A transfer is cut when the client moved no byte for this long.
    idle_body_seconds: _Seconds = 60.0
    # Whether small answers and blob bytes take the short way; the answers are the same without.
    lanes: bool = True
    # Where clients reach the registry, such as https://registry.example: the name in its tokens and
    # in the certificate that it makes, and where it sends clients. Empty: where a request says.
    external_url: Annotated[str, Meta(pattern=r"^(https?://[^/\s\"]+)?$")] = ""
    # Pages that may use the v2 API and the token service from a browser (CORS): their origins, such
    # as https://ui.example, or * for all. None: only pages of this server.
    cors_origins: tuple[str, ...] = ()
    # Networks of proxies that are believed when they tell of clients, by X-Forwarded-For, -Proto,
    # -Host and -Port, or by Forwarded. From all others these headers count for nothing.
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    # "required": each connection begins with a PROXY header (v1 or v2) of a trusted proxy, in front
    # of TLS; others are closed. "off": none does.
    proxy_protocol: Literal["off", "required"] = "off"
    # For how long browsers are to use https only with this host and all its ports, once they saw it
    # with a certificate that was given. 0 makes them forget it.
    hsts_seconds: Annotated[int, Meta(ge=0, le=86_400 * 3_650)] = 2_592_000


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where bytes lie, and how long those stay that nobody refers to."""

    # The data directory. All state is below it; a local file system.
    data: Path = Path("./data")
    # An upload that received nothing for this long is dropped.
    upload_expiry_seconds: _Seconds = 86_400.0
    # A blob that lost its last reference is kept for this long.
    grace_seconds: Annotated[float, Meta(ge=0, le=86_400 * 3_650)] = 86_400.0


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """What the registry accepts."""

    # Whether tags, manifests and blobs can be deleted.
    delete: bool = True
    # Whether a manifest's blobs must be in the repository before it.
    require_blobs: bool = True
    # Whether an index's manifests must be in the repository before it.
    require_children: bool = True
    # Most entries in one page of tags or of the catalog.
    page_size_max: _Count = 1000
    # Longest manifest. Clients refuse more than 4 MiB themselves.
    manifest_size_max: Annotated[int, Meta(ge=65_536, le=1 << 26)] = 4_194_304
    # Most uploads that one user may have open in a repository; ten times as many in all.
    open_uploads_max: Annotated[int, Meta(ge=1, le=10_000)] = 1000


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is written to standard output (requests) and standard error (everything else), and who
    did what (in the data directory).
    """

    # Lines for people, or JSON objects, one a line.
    format: Literal["text", "json"] = "text"
    # The least important message that is written.
    level: Literal["debug", "info", "warning", "error"] = "info"
    # Whether each request is logged.
    access: bool = True
    # What audit events take on disk, all together; the oldest go.
    audit_size_max: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 268_435_456


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Who may do what."""

    # "managed": accounts, which the registry keeps. "none" serves everybody everything.
    mode: Literal["managed", "none"] = "managed"
    # How long an access token lives. Long enough for a push of many layers: one that is on its way
    # when its token expires is finished all the same.
    token_seconds: Annotated[int, Meta(ge=60, le=86_400)] = 900
    # Directories with tokens to show to issuers of jobs' tokens (`bearerTokenFile`). Administrators
    # can name files below these, and no other file of this machine.
    token_file_directories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutgoingConfig:
    """Calls of the registry to other services (docs/outgoing.md)."""

    # Networks that addresses which repository owners enter may lie in although they are private,
    # such as 10.1.0.0/16.
    allow: tuple[str, ...] = ()
    # The proxy for calls over HTTP, as http://HOST:PORT. Empty: none. Variables such as HTTPS_PROXY
    # do not count.
    proxy: str = ""
    # Hosts that are called without the proxy: names, which stand for their subdomains too,
    # addresses, and networks.
    no_proxy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; `origin` is where its value came from: default, file:line, variable, option."""

    name: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. Built once, handed down by constructor."""

    server: ServerConfig = field(default_factory=ServerConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
    log: LogConfig = field(default_factory=LogConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    outgoing: OutgoingConfig = field(default_factory=OutgoingConfig)
    # Where values that are not defaults came from, by dotted name.
    origins: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def settings(self) -> Iterator[Setting]:
        """Every setting, in the order of the sections."""
        for name in NAMES:
            section, key = name.split(".")
            value = getattr(getattr(self, section), key)
            yield Setting(name, value, self.origins.get(name, "default"))

    def describe(self) -> str:
        """The settings as a TOML file that `load` accepts, with the origin of each as a comment."""
        lines: list[str] = []
        section = ""
        for setting in self.settings():
            head, key = setting.name.split(".")
            if head != section:
                section = head
                lines += ["", f"[{section}]"] if lines else [f"[{section}]"]
            lines.append(f"{key} = {_toml(setting.value)}  # {setting.origin}")
        return "\n".join(lines)

    def encode(self) -> bytes:
        """JSON for a child process; `decode` is its inverse."""
        return msgspec.json.encode(self, enc_hook=str)

    @staticmethod
    def decode(data: bytes) -> Config:
        return msgspec.json.decode(data, type=Config, dec_hook=_convert_path)


_SECTIONS: Mapping[str, type] = {
    "server": ServerConfig,
    "store": StoreConfig,
    "registry": RegistryConfig,
    "log": LogConfig,
    "auth": AuthConfig,
    "outgoing": OutgoingConfig,
}

# Dotted name → annotation, of every setting.
NAMES: Mapping[str, object] = {
    f"{section}.{key}": hint
    for section, kind in _SECTIONS.items()
    for key, hint in typing.get_type_hints(kind, include_extras=True).items()
}


def load(
    path: Path | None, environ: Mapping[str, str], options: Mapping[str, object] | None = None
) -> Config:
    """Defaults, then the file (`path`, else DTRFAST_CONFIG), then variables, then `options`.

    Options that are None count as not given. Raises ConfigInvalid, which names the file and line,
    the variable or the option.
    """
    if path is None and environ.get(_FILE_VARIABLE):
        path = Path(environ[_FILE_VARIABLE])
    sources = [*_from_environ(environ), *_from_options(options or {})]
    if path is not None:
        sources = [*_from_file(path), *sources]
    values: dict[str, dict[str, object]] = {section: {} for section in _SECTIONS}
    origins: dict[str, str] = {}
    for setting in sources:
        section, key = setting.name.split(".")
        values[section][key] = _checked(setting)
        origins[setting.name] = setting.origin
    sections = {section: kind(**values[section]) for section, kind in _SECTIONS.items()}
    config = Config(**sections, origins=origins)
    _refuse_half_tls(config)
    _refuse_closed_door(config)
    return config


def split_address(bind: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[IPv6]:PORT`; no host means every IPv4 address.

    Raises ValueError.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^\s:\[\]/]*)):(\d{1,5})", bind)
    if match is None or int(match[3]) > 65_535:
        raise ValueError("expected HOST:PORT or [IPv6]:PORT")
    return match[1] or match[2] or "0.0.0.0", int(match[3])


def is_loopback_host(host: str) -> bool:
    """Whether a name or an address is this machine's own, which no other machine reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_origin(origin: str) -> None:
    """Raises ValueError for what no browser sends as an origin, and so would never match."""
    match = _match_origin(origin)
    is_default = match is not None and (match[1], match[2]) in (("http", "80"), ("https", "443"))
    if origin != "*" and (match is None or is_default):
        raise ValueError(
            "expected * or origins as browsers send them, such as https://ui.example:8443: in lower"
            " case, without a path and without the port that the scheme has anyway"
        )


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network such as 10.0.0.0/8, or one address; IPv4 in IPv6 is IPv4. Raises ValueError."""
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
    """Raises ValueError for a setting of outgoing calls that cannot be honoured."""
    entries = value if isinstance(value, tuple) else ()
    if name == "auth.token_file_directories" and not all(map(_is_plain_directory, entries)):
        raise ValueError("expected directories that begin with a slash, without ..")
    if name == "outgoing.allow":
        for entry in entries:
            parse_network(entry)
    if name == "outgoing.proxy" and value and not _is_proxy(str(value)):
        raise ValueError("expected http://HOST:PORT, without a name and a password")
    if name == "outgoing.no_proxy" and not all(_match_bypass(entry) for entry in entries):
        raise ValueError("expected names such as example.org, addresses or networks, without ports")


def _is_proxy(url: str) -> bool:
    found = _match_proxy(url)
    return found is not None and 0 < int(found[1]) < 65_536


def _is_plain_directory(path: str) -> bool:
    return path.startswith("/") and "\0" not in path and ".." not in path.split("/")


def _match_bypass(entry: str) -> bool:
    """Return whether an entry of `outgoing.no_proxy` is a network, an address or a name."""
    try:
        ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return re.fullmatch(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", entry) is not None
    return True


def external_host(config: Config) -> str:
    """Host, and port if it has one, of where clients reach the registry; empty if nobody said."""
    return config.server.external_url.partition("://")[2]


def _refuse_half_tls(config: Config) -> None:
    pair = ("server.tls_cert", "server.tls_key")
    given, missing = pair if config.server.tls_cert else reversed(pair)
    if bool(config.server.tls_cert) != bool(config.server.tls_key):
        raise ConfigInvalid(f"{config.origins[given]}: {given} needs {missing} beside it")


def _refuse_closed_door(config: Config) -> None:
    server = config.server
    if server.proxy_protocol == "required" and not server.trusted_proxies:
        raise ConfigInvalid(
            f"{config.origins['server.proxy_protocol']}: server.proxy_protocol is required, and no"
            " proxy could connect: name yours in server.trusted_proxies"
        )


def _from_file(path: Path) -> Iterator[Setting]:
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"{path}: is not UTF-8 text: {error.reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(_syntax_message(path, text, str(error))) from error
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
            raise ConfigInvalid(
                f"unknown environment variable {variable}: {_nearest(variable, variables)}"
            )


def _is_of_platform(variable: str, value: str) -> bool:
    """Return whether Kubernetes or docker made a variable, for a Service or a link."""
    return _PLATFORM_VARIABLE.fullmatch(variable) is not None or any(
        name.fullmatch(variable) and form.fullmatch(value) for name, form in _PLATFORM_VALUES
    )


def _nearest(variable: str, variables: Iterable[str]) -> str:
    # What all begin with would make any two of them alike.
    names = {name.removeprefix(_PREFIX): name for name in variables}
    near = difflib.get_close_matches(variable.removeprefix(_PREFIX), names, n=1, cutoff=0.85)
    if near:
        return f"did you mean {names[near[0]]}?"
    return "expected DTRFAST_SECTION_FIELD, such as DTRFAST_SERVER_BIND"


def _from_options(options: Mapping[str, object]) -> Iterator[Setting]:
    for name, value in options.items():
        if value is not None:
            yield Setting(name, value, _OPTIONS.get(name, "--" + name.partition(".")[2]))


class _Text(str):
    """A value that arrived as text whatever its type: numbers and booleans are read from it."""

    __slots__ = ()


def _checked(setting: Setting) -> object:
    """The value in its field's type."""
    value = setting.value
    lax = isinstance(value, _Text)
    hint = NAMES[setting.name]
    if isinstance(value, _Text):
        is_list = typing.get_origin(hint) is tuple
        value = re.findall(r"[^\s,]+", value) if is_list else str(value)
    try:
        value = msgspec.convert(
            value,
            hint,
            strict=not lax,
            dec_hook=_convert_path,
        )
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
        expected = _expected(hint, str(error))
        raise ConfigInvalid(
            f"{setting.origin}: {setting.name}: {expected}, got {setting.value!r}"
        ) from error
    return value


def _expected(hint: object, message: str) -> str:
    if typing.get_origin(hint) is Literal:
        return _one_of(typing.get_args(hint))
    return message.partition(", got")[0].replace("`", "").replace("Expected", "expected")


def _one_of(names: Iterable[str]) -> str:
    return "expected one of " + ", ".join(names)


def _convert_path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, (str, Path)) and str(value) and "\0" not in str(value):
        return Path(value)
    raise ValueError("expected a path")


def _toml(value: object) -> str:
    """A value as TOML writes it; JSON's scalars and strings are a subset of that."""
    return msgspec.json.encode(value, enc_hook=str).decode()


def _syntax_message(path: Path, text: str, message: str) -> str:
    match = re.search(r"^(.*) \(at (?:line (\d+), column \d+|end of document)\)$", message)
    if match is None:
        return f"{path}: {message}"
    line = match[2] or str(text.count("\n") + 1)
    return f"{path}:{line}: {match[1]}"


def _line_of(text: str, name: str) -> int:
    """The line where `section` or `section.key` stands, in any of TOML's spellings.

    The parser keeps no positions. Where the name is not found, its section's line.
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
