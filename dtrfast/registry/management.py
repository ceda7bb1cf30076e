"""Repositories as users manage them: list, create, describe, delete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from typing import Literal

from dtrfast.errors import Conflict, NameInvalid
from dtrfast.index.engine import Engine, ReadTransaction, WriteTransaction
from dtrfast.oci.names import NAME_LENGTH_MAX, ROOT, RepositoryName
from dtrfast.registry import listing, ownership, readmes, removal, repositories
from dtrfast.registry.listing import Columns, Listing, ListRequest
from dtrfast.registry.ownership import Ownership
from dtrfast.registry.pages import BoundedScan
from dtrfast.registry.permits import Action, Permits
from dtrfast.registry.records import RepositoryChange, RepositoryRecord
from dtrfast.registry.repositories import NO_CHANGE
from dtrfast.registry.writing import Author

# Entries of a page that are looked up together. Between batches the request looks at its time.
_BATCH_SIZE = 10


@dataclass(frozen=True, slots=True)
class RepositoryView:
    """A repository as one caller sees it. `readme` and `readme_html` are empty in lists."""

    name: RepositoryName
    record: RepositoryRecord
    namespace_kind: Literal["user", "organization", ""]
    allowed: Action
    readme: str = ""
    readme_html: str = ""


@dataclass(frozen=True, slots=True)
class NewRepository:
    """The description of a repository to create. `name` is the part after `namespace`, which may
    have slashes; with the namespace `ROOT` it is the whole name.
    """

    namespace: str
    name: str
    fields: RepositoryChange = NO_CHANGE

    def full_name(self) -> RepositoryName:
        """Return the repository's name. Raises `NameInvalid`."""
        if self.namespace != ROOT:
            return RepositoryName.parse(f"{self.namespace}/{self.name}")
        name = RepositoryName.parse(self.name)
        if "/" in self.name:
            raise NameInvalid("give the namespace in place of _: it is the part before the slash")
        return name


def visible_names(transaction: ReadTransaction, permits: Permits, after: str = "") -> Iterator[str]:
    """Return the names of the repositories that the caller may see, empty ones among them."""
    start = after.encode("ascii", "replace")
    return (name.decode() for name in permits.visible(transaction, start, with_empty=True))


def views_of(
    transaction: ReadTransaction, permits: Permits, names: Sequence[RepositoryName]
) -> list[RepositoryView]:
    """Return those of some repositories that exist, as the caller sees them, in one look-up each
    of records, rights and namespaces.
    """
    records = repositories.records(transaction, names)
    present = [name for name in names if name.text in records]
    allowed = permits.allowed(transaction, present)
    namespaces = permits.namespaces(transaction, (name.owner for name in present))
    kinds = {owner: namespace.kind for owner, namespace in namespaces.items()}
    return [
        RepositoryView(name, records[name.text], kinds.get(name.owner, ""), actions)
        for name, actions in zip(present, allowed, strict=True)
    ]


def view_of(
    transaction: ReadTransaction,
    permits: Permits,
    name: RepositoryName,
    *,
    with_html: bool = False,
) -> RepositoryView:
    """Return a repository that exists, as the caller sees it, with its README; `with_html` also as
    HTML.
    """
    (view,) = views_of(transaction, permits, [name])
    html = readmes.html(transaction, view.record.id) if with_html else ""
    readme = readmes.get(transaction, view.record.id)
    return replace(view, readme=readme, readme_html=html)


def page_of(
    transaction: ReadTransaction, permits: Permits, names: Iterable[str], request: ListRequest
) -> Listing[RepositoryView]:
    """Return a page of repositories. `names` come in order, begin after `request.first`, and are
    visible to the caller.
    """
    columns: Columns[str] = {
        "name": lambda name: name,
        "created": lambda name: _created_at(transaction, name),
    }
    page = listing.by_name(names, request, columns)
    entries = [RepositoryName(name) for name in page.entries]
    batches = [entries[i : i + _BATCH_SIZE] for i in range(0, len(entries), _BATCH_SIZE)]
    # A user may be in thousands of teams, and a repository may have thousands of grants.
    kept = BoundedScan(batches, are_dear=True)
    found = [view for batch in kept for view in views_of(transaction, permits, batch)]
    next_start = page.next_start
    if kept.is_cut:
        next_start = kept.rest[0][0].text
        if not request.is_by_name:
            next_start = str(request.number + entries.index(kept.rest[0][0]))
    return Listing(found, next_start, page.is_exact)


def _created_at(transaction: ReadTransaction, name: str) -> int:
    record = repositories.record(transaction, RepositoryName(name))
    return 0 if record is None else record.created_at


class Repositories:
    """The repositories of a registry, for one caller.

    `now` gives seconds since the epoch. All methods raise what `Permits.check` does.
    """

    def __init__(self, engine: Engine, permits: Permits, now: Callable[[], int]) -> None:
        self._engine = engine
        self._permits = permits
        self._now = now

    # ---- lists -------------------------------------------------------------------------------
    def page(self, request: ListRequest, *, is_owned: bool = False) -> Listing[RepositoryView]:
        """Return a page of the repositories that the caller may see; with `is_owned` only those of
        namespaces that it owns.
        """
        with self._engine.read() as transaction:
            names = visible_names(transaction, self._permits, request.first)
            if is_owned:
                owned = self._permits.owned_names(transaction)
                names = (name for name in names if RepositoryName(name).owner in owned)
            return page_of(transaction, self._permits, names, request)

    def page_of_namespace(self, namespace: str, request: ListRequest) -> Listing[RepositoryView]:
        """Return a page of the repositories of a namespace that the caller may see: the repository
        of the account's own name, then those below it. `ROOT` is the namespace of names of one
        part.

        Raises `AccountUnknown` for users, if there is neither such an account nor a repository of
        the namespace. Names of accounts are for users: others get an empty page.
        """
        with self._engine.read() as transaction:
            if namespace == ROOT:
                names = visible_names(transaction, self._permits, request.first)
                own = (name for name in names if "/" not in name)
                return page_of(transaction, self._permits, own, request)
            is_seen = any(True for _ in self._names_of(transaction, namespace, ""))
            if not is_seen and self._permits.is_user:
                self._permits.require_account(transaction, namespace)
            names = self._names_of(transaction, namespace, request.first)
            return page_of(transaction, self._permits, names, request)

    def _names_of(self, transaction: ReadTransaction, owner: str, after: str) -> Iterator[str]:
        """Return names of a namespace. Between `alice` and `alice/x` lie those of accounts such as
        `alice-1`, which are skipped.
        """
        if len(owner) > NAME_LENGTH_MAX:
            return iter(())
        before, prefix = ListRequest(start=owner).after, f"{owner}/"
        own = visible_names(transaction, self._permits, max(after, before))
        below = visible_names(transaction, self._permits, max(after, prefix))
        return chain(
            takewhile(lambda name: name == owner, own),
            takewhile(lambda name: name.startswith(prefix), below),
        )

    # ---- one repository ----------------------------------------------------------------------
    def get(self, name: RepositoryName, *, with_html: bool = False) -> RepositoryView:
        """Return a repository with its README, `with_html` also as safe HTML. The HTML is empty
        until the server has rendered the text, and for a text that takes too long to render.
        """
        with self._engine.read() as transaction:
            repositories.require(transaction, self._permits, name, Action.PULL)
            return view_of(transaction, self._permits, name, with_html=with_html)

    def create(self, new: NewRepository) -> RepositoryView:
        """Create a repository. Raises `NameInvalid`, `Conflict`, `AccountUnknown`."""
        readme, rendering = new.fields.readme, None
        if readme:
            with self._engine.read() as transaction:
                self._check_new(transaction, new)
            rendering = readmes.render(readme)  # may take a while
        author = self._author()

        def change(transaction: WriteTransaction) -> RepositoryView:
            name = self._check_new(transaction, new)
            repositories.create(transaction, name, author, new.fields)
            if readme:
                repositories.update(transaction, name, author, new.fields, rendering)
            return view_of(transaction, self._permits, name)

        return self._engine.write(change)

    def _check_new(self, transaction: ReadTransaction, new: NewRepository) -> RepositoryName:
        """Return the name of a repository that the caller may create."""
        name = new.full_name()
        # A system administrator may begin a namespace that no account has.
        if new.namespace != ROOT and not self._permits.is_admin(transaction):
            self._permits.require_account(transaction, new.namespace)
        self._permits.check_namespace(transaction, name)
        if repositories.find(transaction, name) is not None:
            raise Conflict(f"a repository {name} exists already")
        return name

    def update(self, name: RepositoryName, change: RepositoryChange) -> RepositoryView:
        """Change the description, the README or the visibility of a repository."""
        rendering = None
        if change.readme:
            with self._engine.read() as transaction:
                repositories.require(transaction, self._permits, name, Action.ADMIN)
            rendering = readmes.render(change.readme)
        author = self._author()

        def apply(transaction: WriteTransaction) -> RepositoryView:
            repositories.require(transaction, self._permits, name, Action.ADMIN)
            repositories.update(transaction, name, author, change, rendering)
            return view_of(transaction, self._permits, name)

        return self._engine.write(apply)

    def preview_readme(self, name: RepositoryName, text: str) -> str:
        """Return the HTML that a README of the repository would have, for callers that may save it.
        It is empty for a text that takes too long to render.
        """
        with self._engine.read() as transaction:
            repositories.require(transaction, self._permits, name, Action.ADMIN)
        return readmes.preview(text)

    def delete(self, name: RepositoryName) -> Ownership:
        """Move a repository to the trash, with all that is in it. Returns its id and its owner's,
        which cannot be found by its name any more.
        """
        author = self._author()

        def change(transaction: WriteTransaction) -> Ownership:
            repositories.require(transaction, self._permits, name, Action.PULL)
            self._permits.check_namespace(transaction, name)
            about = ownership.find(transaction, name)
            removal.delete(transaction, name, author)
            return about

        return self._engine.write(change)

    def _author(self) -> Author:
        return Author(self._permits.actor, self._now())
