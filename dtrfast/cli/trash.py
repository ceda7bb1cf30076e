"""`dtrfast trash` and `dtrfast tag`: deleted things, and their restoration."""

from __future__ import annotations

import cyclopts

from dtrfast.cli.accounts import At
from dtrfast.cli.api_client import connect
from dtrfast.cli.options import HERE
from dtrfast.cli.output import done, show
from dtrfast.cli.repositories import split
from dtrfast.errors import NameInvalid

trash = cyclopts.App(name="trash", help="List and restore deleted things.")
tags = cyclopts.App(name="tag", help="Show and restore earlier states of tags.")

_REPOSITORY_COLUMNS = ["id", "namespace", "name", "deletedAt", "deletedBy", "trashUntil"]
_MANIFEST_COLUMNS = ["digest", "tags", "deletedAt", "deletedBy", "trashUntil", "run"]
_STATE_COLUMNS = ["digest", "setAt", "setBy", "endedAt", "endedBy", "ending", "isRestorable"]


@trash.command(name="list")
def list_trash(repository: str = "", *, at: At = HERE) -> None:
    """List deleted repositories, or the deleted manifests of an existing REPOSITORY."""
    with connect(at) as api:
        if repository:
            entries = api.pages("manifests", *split(repository), "trash")
            show(at, entries, _MANIFEST_COLUMNS)
        else:
            show(at, api.pages("repositories", "trash"), _REPOSITORY_COLUMNS)


@trash.command(name="restore")
def restore(repository: str, digest: str = "", *, name: str = "", at: At = HERE) -> None:
    """Restore a deleted REPOSITORY, or the manifest with DIGEST of an existing REPOSITORY.

    A deleted repository is named by its name, or by its id in the list. Use --name if its name is
    taken by now. If its account no longer exists, use the id.
    """
    with connect(at) as api:
        if digest:
            answer = api.call("POST", *split(repository), "manifests", digest, "restore")
            done(at, answer, f"restored {digest} with the tags {', '.join(answer['tags']) or '-'}")
            return
        found = [
            entry
            for entry in api.pages("repositories", "trash")
            if repository in (entry["id"], f"{entry['namespace']}/{entry['name']}".lstrip("/"))
        ]
        if not found:
            raise NameInvalid(f"{repository} is not in the trash: see `dtrfast trash list`")
        number = found[-1]["id"]
        if found[-1]["changesOwner"] and repository != number:
            raise NameInvalid(
                f"the account of the deleted {repository} no longer exists or has another name:"
                f" to give the repository to another owner, use its id, {number}"
            )
        answer = api.call("POST", "trash", number, "restore", body={"name": name})
        done(at, answer, f"restored the repository {name or repository}")


@trash.command(name="restore-run")
def restore_run(run: str, *, at: At = HERE) -> None:
    """Restore all manifests that one RUN of a deletion policy deleted."""
    count, start = 0, ""
    with connect(at) as api:
        while True:
            body = {"run": run, "start": start}
            answer = api.call("POST", "trash", "restoreRun", body=body)
            count, start = count + answer["count"], answer["nextStart"]
            if not start:
                break
    done(at, {"count": count}, f"restored {count} manifests")


@tags.command(name="history")
def history(repository: str, tag: str, *, at: At = HERE) -> None:
    """Show the manifests that a TAG points at and pointed at, with author and time."""
    with connect(at) as api:
        answer = api.call("GET", *split(repository), "tags", tag, "history")
    show(at, answer["states"], _STATE_COLUMNS)


@tags.command(name="restore")
def restore_tag(repository: str, tag: str, digest: str = "", *, at: At = HERE) -> None:
    """Point a TAG at its previous manifest, or at the manifest with an earlier DIGEST."""
    with connect(at) as api:
        body = {"digest": digest}
        answer = api.call("POST", *split(repository), "tags", tag, "restore", body=body)
    done(at, answer, f"{repository}:{tag} points at {answer['digest']} again")
