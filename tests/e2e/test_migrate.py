"""The scripts of deploy/ that list and copy the repositories of another registry.

Neither Harbor nor Docker Trusted Registry run here. `OtherRegistry` answers as their API's
documentation says. tests/deploy/test_migration.py has a real distribution.
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from dtrfast import testing
from tests.e2e.programs import PROJECT, Program

_NAMES = ("team/app", "team/tools/web", "redis")


def migrate(
    skopeo: Program, old: testing.Registry, new: testing.Registry, names: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    options = "--src-tls-verify=false --dest-tls-verify=false"
    folder, _, _ = skopeo.path.rpartition("/")
    return subprocess.run(
        [PROJECT / "deploy" / "migrate.sh", old.host, new.host],
        env={
            **skopeo.environment,
            "SKOPEO_SYNC": options,
            "PATH": f"{folder}:{os.environ['PATH']}",
        },
        input="\n".join(names),
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_tags_arrive_with_their_digests_and_a_second_run_adds_what_is_new(
    skopeo: Program,
) -> None:
    with testing.registry() as old, testing.registry() as new:
        images = {"linux/amd64": [{"a": b"1"}], "linux/arm64": [{"a": b"2"}]}
        pushed = [old.push_image(f"{name}:v1", [{"a": name.encode()}]) for name in _NAMES]
        pushed.append(old.push_index("team/app:multi", images))
        done = migrate(skopeo, old, new, _NAMES)
        assert done.returncode == 0, done.stderr
        for one in pushed:
            there = new.request("HEAD", f"/v2/{one.repository}/manifests/{one.tag}")
            assert there.headers["docker-content-digest"] == one.digest
        entries = new.manifest("team/app:multi")["manifests"]
        assert len([new.manifest(f"team/app@{entry['digest']}") for entry in entries]) == 2

        later = old.push_image("team/app:v2", [{"b": b"new"}])
        done = migrate(skopeo, old, new, ("team/app", "none/such", "redis"))
        assert done.returncode == 1
        assert done.stderr.endswith("not copied whole: none/such\n")
        assert new.manifest(f"team/app@{later.digest}") == old.manifest("team/app:v2")


# ---- lists ---------------------------------------------------------------------------------------
def listed(
    kind: str, address: str, environment: Mapping[str, str], **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROJECT / "deploy" / "list-repositories.py", kind, address],
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_catalog_is_listed_with_a_token_and_to_its_last_page(
    environment: Mapping[str, str],
) -> None:
    settings = {"registry.page_size_max": "2"}
    with testing.registry(accounts=True, settings=settings) as registry:
        assert registry.admin is not None
        names = [f"admin/app-{number}" for number in range(5)]
        for name in names:
            registry.push_image(f"{name}:v1")
        user = {"REGISTRY_USERNAME": "admin", "REGISTRY_PASSWORD": registry.admin.password}
        done = listed("distribution", registry.url, environment, **user)
        assert (done.returncode, done.stdout.splitlines()) == (0, names), done.stderr
        wrong = listed(
            "distribution", registry.url, environment, **{**user, "REGISTRY_PASSWORD": ""}
        )
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert "401" in wrong.stderr


class OtherRegistry(http.server.BaseHTTPRequestHandler):
    """Answers documents by path to one user. A document is a pair of JSON and headers."""

    documents: Mapping[str, tuple[object, Mapping[str, str]]]

    def do_GET(self) -> None:
        basic = base64.b64encode(b"admin:secret").decode()
        is_known = self.headers.get("authorization") == f"Basic {basic}"
        document, headers = self.documents.get(self.path, ({}, {}))
        status = 401 if not is_known else 200 if document else 500
        body = json.dumps(document).encode() if is_known else b"{}"
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@contextmanager
def answering(documents: Mapping[str, tuple[object, Mapping[str, str]]]) -> Iterator[str]:
    """Serve these documents until the block ends; yields the host."""
    handler = type("Documents", (OtherRegistry,), {"documents": documents})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


_PROJECTS = "/api/v2.0/projects"
_FIRST = "page=1&page_size=100"
_SECOND = "page=2&page_size=100"
HARBOR = {
    f"{_PROJECTS}?{_FIRST}": (
        [{"name": "team"}],
        # As behind a proxy that passes on no scheme.
        {"link": f'<http://elsewhere.example{_PROJECTS}?{_SECOND}>; rel="next"'},
    ),
    f"{_PROJECTS}?{_SECOND}": (
        [{"name": "42"}],
        {"link": f'<{_PROJECTS}?{_FIRST}>; rel="prev"'},
    ),
    f"{_PROJECTS}/team/repositories?{_FIRST}": (
        [{"name": "team/app"}],
        {"link": f'<{_PROJECTS}/team/repositories?{_SECOND}>; rel="next"'},
    ),
    f"{_PROJECTS}/team/repositories?{_SECOND}": (
        [{"name": "team/tools/web"}],
        {"link": f'<{_PROJECTS}/team/repositories?{_FIRST}>; rel="prev"'},
    ),
    f"{_PROJECTS}/42/repositories?{_FIRST}": ([{"name": "42/base"}], {}),
}
_REPOSITORIES = "/api/v0/repositories?pageSize=100"
DTR = {
    _REPOSITORIES: (
        {"repositories": [{"namespace": "admin", "name": "base"}]},
        {"X-Next-Page-Start": "0000-id/2"},
    ),
    f"{_REPOSITORIES}&pageStart=0000-id%2F2": (
        {"repositories": [{"namespace": "team", "name": "app"}]},
        {},
    ),
}


@pytest.mark.parametrize(
    ("kind", "documents", "names"),
    [
        ("harbor", HARBOR, ["42/base", "team/app", "team/tools/web"]),
        ("dtr", DTR, ["admin/base", "team/app"]),
    ],
    ids=["harbor", "dtr"],
)
def test_lists_of_harbor_and_dtr_have_all_pages(
    kind: str,
    documents: Mapping[str, tuple[object, Mapping[str, str]]],
    names: list[str],
    environment: Mapping[str, str],
    tmp_path: Path,
) -> None:
    with answering(documents) as host:
        url = f"http://{host}"
        anonymous = listed(kind, url, environment)
        assert (anonymous.returncode, anonymous.stdout) == (1, "")
        assert "no credentials" in anonymous.stderr

        # The files that `skopeo login` and `docker login` write.
        auth = base64.b64encode(b"admin:secret").decode()
        text = json.dumps({"auths": {host: {"auth": auth}}})
        for name, variable in {
            "auth.json": "REGISTRY_AUTH_FILE",
            "config.json": "DOCKER_CONFIG",
        }.items():
            folder = tmp_path / variable
            folder.mkdir()
            (folder / name).write_text(text)
            place = folder / name if variable == "REGISTRY_AUTH_FILE" else folder
            done = listed(kind, url, environment, **{variable: str(place)})
            assert (done.returncode, done.stdout.splitlines()) == (0, names), done.stderr

    # A page that fails, and a page that names itself as the next one: no list is printed.
    user = {"REGISTRY_USERNAME": "admin", "REGISTRY_PASSWORD": "secret"}
    *_, last = documents
    first = next(iter(documents))
    document, headers = documents[first]
    itself = {"link": f'<{first}>; rel="next"', "X-Next-Page-Start": "x"}
    again = {f"{first}&pageStart=x": (document, itself)}
    for changed in (
        {**documents, last: ({}, {})},
        {**documents, first: (document, {**headers, **itself}), **again},
    ):
        with answering(changed) as host:
            done = listed(kind, f"http://{host}", environment, **user)
        assert (done.returncode, done.stdout) == (1, "")
        assert "500" in done.stderr or "page" in done.stderr
