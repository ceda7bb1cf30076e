"""The role walk: every management operation for every kind of caller (`rights.txt`).

A refusal must change no table of the index. An operation without a row fails the walk, and so does
a row without an operation. Each change and each refusal must leave an audit event.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from dtrfast.config import Config, StoreConfig
from dtrfast.index import epoch
from tests.api.managed.town import Town, in_memory
from tests.fakes.engine import MemoryEngine
from tests.walks import callers, rights, scene
from tests.walks.callers import COLUMNS, Credential
from tests.walks.requests import BY_ID, BY_NAME, REQUESTS, Request
from tests.walks.scene import Scene

ROWS = rights.read()
_ROW_OF = {row.name: row for row in ROWS}
# The cell of a caller without an account, in a row about the caller's own account.
_NO_REQUEST = "-"
_DONE = "ok"
# The operations that bounded credentials may ask: they read, or are about a browser's session.
_FOR_BOUNDED = {
    "autocomplete",
    "compare_images",
    "get_blob_usage",
    "get_image",
    "get_manifest_usage",
    "get_repository",
    "get_repository_trash",
    "get_repository_usage",
    "get_tag_history",
    "get_tag_trust",
    "list_images",
    "list_manifests",
    "list_repositories",
    "list_repositories_of_namespace",
    "list_tags",
    "preview_deletion",
    "search",
    "sign_in",
    "sign_out",
}
# Operations that change nothing here although their method is not GET: these callers have no
# session.
_CHANGES_NOTHING = {"reindex", "sign_out", "preview_readme"}
# Operations that only read, but that record an event because of what they read.
_TELLS_SECRETS = {"get_diagnostics"}


@dataclass
class Walk:
    """The scene, which is restored after every request."""

    scene: Scene
    engine: MemoryEngine
    credentials: dict[str, Credential]

    def __post_init__(self) -> None:
        self.before = self.engine.snapshot()

    @property
    def town(self) -> Town:
        return self.scene.town

    def cell(self, request: Request, credential: Credential) -> str:
        """Return the answer as a cell. Fails if a refusal changed a table of the index."""
        if request.needs_self and not credential.account:
            return _NO_REQUEST
        self.town.events.all.clear()
        status = self._ask(request, credential)
        self._check_events(request, credential, status)
        changed = self.engine.snapshot().changed_since(self.before)
        if changed:
            self._go_back()
        if status == BY_ID[request.operation].status:
            return _DONE
        assert not changed, f"{request.name} was refused with {status} and changed {changed}"
        return str(status)

    def _check_events(self, request: Request, credential: Credential, status: int) -> None:
        """Fail if a change, or a refusal of a known caller, left no audit event."""
        operation = BY_ID[request.operation]
        outcomes = [event.outcome for event in self.town.events.all if event.kind != "sign-in"]
        is_change = operation.method != "GET" and operation.id not in _CHANGES_NOTHING
        if status == operation.status and (is_change or operation.id in _TELLS_SECRETS):
            is_noted = operation.id == "sign_in" or bool(set(outcomes) & {"ok", "failed"})
            assert is_noted, f"{request.name} was done and left no audit event"
        is_hidden = request.case == "hidden" and status == 404 and credential.headers
        if status == 403 or is_hidden:
            assert "refused" in outcomes, f"{request.name} was refused and left no audit event"

    def _ask(self, request: Request, credential: Credential) -> int:
        client = self.town.client
        sent = self.scene.fill_in(request, credential.account)
        options = {} if sent.body is None else {"json": sent.body}
        answer = client.request(sent.method, sent.url, headers=credential.headers, **options)
        client.forget_cookies()
        return answer.status_code

    def _go_back(self) -> None:
        """Restore the scene. The epoch advances, so that cached verdicts do not count any more."""
        self.engine.restore(self.before)
        self.engine.write(epoch.advance)
        self.before = self.engine.snapshot()


@pytest.fixture(scope="module")
def walk() -> Iterator[Walk]:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        config = Config(store=StoreConfig(data=data))
        with in_memory(config=config) as town, scene.prepared(town, Path(folder)) as made:
            assert isinstance(town.engine, MemoryEngine)
            credentials = callers.credentials_of(made)
            for one in credentials.values():
                # The index notes when a token was last used, at most once a minute.
                town.client.get("/v2/", headers=one.headers)
            yield Walk(made, town.engine, credentials)


def test_the_table_has_every_operation_and_no_other() -> None:
    assert {row.name.partition(".")[0] for row in ROWS} == set(BY_ID)
    assert [row.name for row in ROWS] == [one.name for one in REQUESTS]
    assert len(_ROW_OF) == len(ROWS)
    for row in ROWS:
        operation = BY_ID[BY_NAME[row.name].operation]
        assert (row.method, row.path) == (operation.method, operation.path), row.name
    assert rights.read_columns() == list(COLUMNS)


@pytest.mark.parametrize("name", BY_NAME)
def test_rights(walk: Walk, name: str) -> None:
    assert name in _ROW_OF, f"{rights.PATH.name} has no row for {name}: add one"
    request = BY_NAME[name]
    cells = {kind: walk.cell(request, walk.credentials[kind]) for kind in COLUMNS}
    assert str(rights.row_of(request, cells)) == str(_ROW_OF[name])


# ---- callers that one rule describes ---------------------------------------------------------
def _cells(walk: Walk, credential: Credential) -> dict[str, str]:
    """Return the cells of all requests but the sign-in, which ignores the caller's credential."""
    asked = (one for one in REQUESTS if one.operation != "sign_in")
    return {one.name: walk.cell(one, credential) for one in asked}


def test_a_deactivated_administrator_may_do_nothing(walk: Walk) -> None:
    cells = _cells(walk, callers.former(walk.scene))
    assert {name: cell for name, cell in cells.items() if cell != "401"} == {}


def test_a_session_without_its_csrf_token_changes_nothing(walk: Walk) -> None:
    forged = callers.forged(walk.scene)
    walk.before = walk.engine.snapshot()
    wrong = {}
    for name, cell in _cells(walk, forged).items():
        changes = BY_ID[BY_NAME[name].operation].method != "GET"
        if cell != ("403" if changes else _ROW_OF[name].cells["system"]):
            wrong[name] = cell
    assert wrong == {}


def test_bounded_credentials_may_ask_what_reads_and_nothing_else() -> None:
    asked = {operation.id for operation in BY_ID.values() if operation.audience != "users"}
    assert asked == _FOR_BOUNDED
    for row in ROWS:
        cells = {row.cells[column] for column in callers.BOUNDED}
        if row.name.partition(".")[0] not in _FOR_BOUNDED:
            assert cells <= {"403", _NO_REQUEST}, row.name


# ---- names -----------------------------------------------------------------------------------
def _with_missing(request: Request, pieces: Iterable[str]) -> Request:
    """Return the same request for a name that does not exist."""
    path = {k: "nothing-has-this" if k in pieces else v for k, v in request.path.items()}
    return replace(request, path=path)


def _telling(walk: Walk, kind: str, pieces: Iterable[str]) -> set[str]:
    """Return the operations whose answers show if a name exists."""
    found = set()
    for request in REQUESTS:
        missing = _with_missing(request, pieces)
        if missing == request or request.needs_self:
            continue
        cells = [walk.cell(one, walk.credentials[kind]) for one in (request, missing)]
        if cells[0] != cells[1] and request.case != "public":
            found.add(request.operation)
    return found


def test_callers_without_a_sign_in_learn_no_names_of_accounts(walk: Walk) -> None:
    assert _telling(walk, "anon", ("name", "namespace", "member", "grantee")) == set()


def test_strangers_learn_no_names_of_teams(walk: Walk) -> None:
    assert _telling(walk, "stranger", ("team",)) == set()


@pytest.mark.parametrize("kind", callers.BOUNDED)
def test_bounded_credentials_learn_no_names_of_accounts_and_teams(walk: Walk, kind: str) -> None:
    assert _telling(walk, kind, ("name", "member", "grantee", "team")) == set()
