from __future__ import annotations

import re
from pathlib import Path

import pytest

from dtrfast.config import NAMES, TEST_ASSEMBLY, Config, _is_of_platform, load, split_address
from dtrfast.errors import ConfigInvalid

PROJECT = Path(__file__).parents[1]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "dtrfast.toml"
    path.write_text(text)
    return path


def refused(path: Path | None, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        load(path, environ or {})
    return str(caught.value)


def test_nothing_needs_to_be_configured() -> None:
    assert load(None, {}) == Config()


def test_later_sources_win(tmp_path: Path) -> None:
    path = write(tmp_path, '[server]\nworkers = 1\nconnections_max = 10\nbind = "a:1"\n')
    environ = {"DTRFAST_SERVER_WORKERS": "2", "DTRFAST_SERVER_BIND": "b:2", "HOME": "/"}
    config = load(path, environ, {"server.bind": "c:3", "store.data": None})
    assert (config.server.connections_max, config.server.workers) == (10, 2)
    assert config.server.bind == "c:3"
    origins = {setting.name: setting.origin for setting in config.settings()}
    assert origins["server.connections_max"] == f"{path}:3"
    assert origins["server.workers"] == "DTRFAST_SERVER_WORKERS"
    assert origins["server.bind"] == "--bind"
    assert origins["store.data"] == "default"


def test_a_list_of_origins(tmp_path: Path) -> None:
    origins = (
        "https://ui.example",
        "http://localhost:8080",
        "http://[::1]:3000",
        "tauri://app",
        "*",
    )
    path = write(tmp_path, f"[server]\ncors_origins = {list(origins)}\n")
    config = load(path, {})
    assert config.server.cors_origins == origins
    for text in (", ".join(origins), " ".join(origins), ",".join(origins) + ",\n"):
        assert load(None, {"DTRFAST_SERVER_CORS_ORIGINS": text}) == config
    assert load(write(tmp_path, config.describe()), {}) == config
    assert Config.decode(config.encode()) == config
    assert load(None, {"DTRFAST_SERVER_CORS_ORIGINS": ""}).server.cors_origins == ()


@pytest.mark.parametrize(
    "origin",
    [
        "ui.example",
        "https://ui.example/",
        "https://UI.example",
        "https://ui.example:443",
        "http://ui.example:80",
        "https://*.example",
        "null",
        "https://u@ui.example",
        'https://ui.example"x',
        "https://ui.example:x",
        "https://",
        "",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(tmp_path: Path, origin: str) -> None:
    path = write(tmp_path, f"[server]\ncors_origins = ['{origin}']\n")
    assert "server.cors_origins: expected * or origins as browsers send them" in refused(path)


def test_the_environment_can_name_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[log]\naccess = false\n")
    assert load(None, {"DTRFAST_CONFIG": str(path)}).log.access is False


def test_settings_of_outgoing_calls() -> None:
    environ = {
        "DTRFAST_OUTGOING_ALLOW": "10.0.0.0/8,fd00::/8",
        "DTRFAST_OUTGOING_PROXY": "http://[fd00::1]:3128",
        "DTRFAST_OUTGOING_NO_PROXY": "internal, .example.org 10.0.0.0/8 ::1",
        "DTRFAST_AUTH_TOKEN_FILE_DIRECTORIES": "/run/secrets,/var/tokens/",
    }
    config = load(None, environ)
    assert config.outgoing.allow == ("10.0.0.0/8", "fd00::/8")
    assert config.outgoing.proxy == "http://[fd00::1]:3128"
    assert config.outgoing.no_proxy == ("internal", ".example.org", "10.0.0.0/8", "::1")
    assert config.auth.token_file_directories == ("/run/secrets", "/var/tokens/")


def test_the_environment_has_booleans_numbers_and_paths() -> None:
    environ = {
        "DTRFAST_LOG_ACCESS": "false",
        "DTRFAST_STORE_GRACE_SECONDS": "0.5",
        "DTRFAST_STORE_DATA": "/var/lib/dtrfast",
    }
    config = load(None, environ)
    assert config.log.access is False
    assert config.store.grace_seconds == 0.5
    assert config.store.data == Path("/var/lib/dtrfast")


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("[server]\nworkers = 1\nworkerz = 2\n", 3, "unknown setting server.workerz"),
        ("\n[sever]\n", 2, "unknown section [sever]"),
        ("[server]\n\nworkers = -1\n", 3, "server.workers: expected int >= 0, got -1"),
        ('[server]\nworkers = "2"\n', 2, "server.workers: expected int, got '2'"),
        ("[registry]\ndelete = 1\n", 2, "registry.delete: expected bool, got 1"),
        ('[log]\nformat = "xml"\n', 2, "log.format: expected one of text, json, got 'xml'"),
        ('[server]\nbind = "5000"\n', 2, "expected HOST:PORT or [IPv6]:PORT, got '5000'"),
        (
            '[outgoing]\nallow = ["10.0.0.1/8"]\n',
            2,
            "expected 10.0.0.0/8 for the network, or 10.0.0.1",
        ),
        ('[outgoing]\nallow = ["internal"]\n', 2, "expected networks such as"),
        ('[outgoing]\nproxy = "https://proxy:3128"\n', 2, "expected http://HOST:PORT"),
        ('[outgoing]\nproxy = "http://me:secret@proxy:3128"\n', 2, "without a name and a password"),
        ('[outgoing]\nproxy = "proxy:3128"\n', 2, "expected http://HOST:PORT"),
        ('[outgoing]\nproxy = "http://proxy:99999"\n', 2, "expected http://HOST:PORT"),
        ('[outgoing]\nno_proxy = ["example.org:443"]\n', 2, "without ports"),
        ('[outgoing]\nno_proxy = ["https://example.org"]\n', 2, "expected names such as"),
        ('[auth]\ntoken_file_directories = ["tokens"]\n', 2, "that begin with a slash"),
        ('[auth]\ntoken_file_directories = ["/run/../etc"]\n', 2, "without .."),
        ("[store]\ngrace_seconds = -0.1\n", 2, "store.grace_seconds: expected float >= 0.0"),
        ('[store]\ndata = ""\n', 2, "store.data: expected a path"),
        ("# a comment\nlog.level = 3\n", 2, "log.level: expected one of debug, info"),
        ("\nlog = { access = 3 }\n", 2, "log.access: expected bool"),
        ("log = 3\n", 1, "log: expected a section [log]"),
        ('[log]\n"level" = "loud"\n', 2, "log.level: expected one of"),
        ("[server]\nworkers = \n", 2, "Invalid value"),
        ("[server]\nworkers = 1\nworkers = 2\n", 3, "Cannot overwrite a value"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_line(
    tmp_path: Path, text: str, line: int, expected: str
) -> None:
    path = write(tmp_path, text)
    message = refused(path)
    assert message.startswith(f"{path}:{line}: ")
    assert expected in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none").startswith(f"{tmp_path}/none: cannot be read")
    path = tmp_path / "binary"
    path.write_bytes(b"\xff")
    assert refused(path).startswith(f"{path}: is not UTF-8")


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("DTRFAST_SERVER_WORKRES", "1", "unknown environment variable DTRFAST_SERVER_WORKRES"),
        ("DTRFAST_SERVER_WORKERS", "two", "DTRFAST_SERVER_WORKERS: server.workers: expected int"),
        ("DTRFAST_LOG_ACCESS", "perhaps", "DTRFAST_LOG_ACCESS: log.access: expected bool"),
        ("DTRFAST_SERVER_IDLE_BODY_SECONDS", "nan", "expected float > 0"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, expected: str) -> None:
    assert expected in refused(None, {variable: value})


SERVICE = {
    "SERVICE_HOST": "10.96.0.7",
    "SERVICE_PORT": "5000",
    "SERVICE_PORT_HTTP": "5000",
    "SERVICE_PORT_LOG_LEVEL": "5001",
    "PORT": "tcp://10.96.0.7:5000",
    "PORT_5000_TCP": "tcp://10.96.0.7:5000",
    "PORT_5000_TCP_PROTO": "tcp",
    "PORT_5000_TCP_PORT": "5000",
    "PORT_5000_TCP_ADDR": "10.96.0.7",
    "PORT_53_UDP": "udp://[fd00::1]:53",
    "PORT_53_UDP_ADDR": "fd00::1",
    "PORT_9_SCTP_PROTO": "sctp",
}
LINK = {
    "NAME": "/web/dtrfast",
    "ENV_PATH": "/usr/bin",
    "ENV_DTRFAST_SERVER_BIND": ":5000",
    "PORT_5000_TCP_START": "tcp://172.17.0.2:5000",
    "PORT_5000_TCP_PORT_END": "5009",
}


@pytest.mark.parametrize("name", ["", "REGISTRY_", "SERVER_", "LOG_", "1_", "DTRFAST_1_"])
def test_variables_that_the_platform_makes_are_no_settings(name: str) -> None:
    environ = {f"DTRFAST_{name}{rest}": value for rest, value in (SERVICE | LINK).items()}
    assert load(None, environ) == Config()


def test_no_setting_is_taken_for_a_variable_of_the_platform() -> None:
    for name in NAMES:
        variable = "DTRFAST_" + name.replace(".", "_").upper()
        for value in ("", "5000", "tcp://10.96.0.7:5000", "/web/dtrfast"):
            assert not _is_of_platform(variable, value), name


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("DTRFAST_SERVER_BNID", "x", "did you mean DTRFAST_SERVER_BIND?"),
        ("DTRFAST_STORE_DAT", "x", "did you mean DTRFAST_STORE_DATA?"),
        ("DTRFAST_PORT", "5000", "such as DTRFAST_SERVER_BIND"),
        ("DTRFAST_SERVER_PORT", "5000", "unknown environment variable"),
        ("DTRFAST_PORT", "tcp://somewhere", "unknown environment variable"),
        ("DTRFAST_NAME", "registry", "unknown environment variable"),
        ("DTRFAST_SERVICE", "5000", "unknown environment variable"),
        ("DTRFAST_ENV", "production", "unknown environment variable"),
        ("DTRFAST_PORT_HTTP_TCP", "tcp://10.96.0.7:80", "unknown environment variable"),
    ],
)
def test_a_mistyped_setting_still_stops_the_start(variable: str, value: str, expected: str) -> None:
    assert expected in refused(
        None, {**{f"DTRFAST_{n}": v for n, v in LINK.items()}, variable: value}
    )


def test_every_variable_that_we_suggest_can_be_set() -> None:
    """A build or test variable with our prefix would stop a server in the same environment."""
    known = {"DTRFAST_" + name.replace(".", "_").upper() for name in NAMES}
    known |= {"DTRFAST_CONFIG", "DTRFAST_TOKEN", "DTRFAST_PROFILE", TEST_ASSEMBLY}
    known |= {"DTRFAST_SECTION_FIELD"}
    known |= {"DTRFAST_PORT", "DTRFAST_NAME", "DTRFAST_ENV_"}  # set by platforms, some as prefixes
    places = ["Makefile", "ext.mk", "setup.py", "README.md", "pyproject.toml", "CONTRIBUTING.md"]
    files = [PROJECT / place for place in places]
    for folder in ("docs", "dtrfast/cli", "dtrfast/console/templates", ".ci", "benchmarks"):
        files += [
            path for path in (PROJECT / folder).rglob("*") if path.suffix not in (".pyc", ".png")
        ]
    for path in files:
        if path.is_file():
            names = set(
                re.findall(r"\bDTRFAST_[A-Z][A-Z0-9_]+", path.read_text("utf-8", "replace"))
            )
            assert {n for n in names - known if not _is_of_platform(n, "")} == set(), path


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(ConfigInvalid, match=r"--workers: server.workers: expected int >= 0"):
        load(None, {}, {"server.workers": -1})


@pytest.mark.parametrize(("given", "missing"), [("cert", "key"), ("key", "cert")])
def test_a_certificate_needs_its_key(tmp_path: Path, given: str, missing: str) -> None:
    path = write(tmp_path, f'[server]\ntls_{given} = "x.pem"\n')
    assert refused(path) == f"{path}:2: server.tls_{given} needs server.tls_{missing} too"


def test_what_is_described_can_be_loaded(tmp_path: Path) -> None:
    config = load(None, {"DTRFAST_STORE_DATA": 'odd "name"\\', "DTRFAST_SERVER_BIND": "[::]:1"})
    assert load(write(tmp_path, config.describe()), {}) == config


def test_children_get_the_same_settings() -> None:
    config = load(None, {"DTRFAST_STORE_DATA": "/x", "DTRFAST_LOG_FORMAT": "json"})
    assert Config.decode(config.encode()) == config


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("localhost:0", ("localhost", 0)),
        (":5000", ("0.0.0.0", 5000)),
        ("[::1]:65535", ("::1", 65_535)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
    ],
)
def test_addresses(bind: str, address: tuple[str, int]) -> None:
    assert split_address(bind) == address


@pytest.mark.parametrize("bind", ["", "host", "host:", "::1:5000", "h:65536", "h:-1", "[h]:1"])
def test_what_is_no_address(bind: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        split_address(bind)


def test_there_are_few_settings() -> None:
    assert len(NAMES) <= 40
