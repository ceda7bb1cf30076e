"""`dtrfast trash` and `dtrfast tag`: what was deleted, and getting it back."""

from __future__ import annotations

import cyclopts

from dtrfast.cli.accounts import At
from dtrfast.cli.connection import HERE, connect
from dtrfast.cli.output import done, show
from dtrfast.cli.repositories import split
from dtrfast.errors import NameInvalid

trash = cyclopts.App(name="trash", help="What was deleted, and can be restored.")
tags = cyclopts.App(name="tag", help="What tags point at and pointed at.")

_REPOSITORY_COLUMNS = ["id", "namespace", "name", "deletedAt", "deletedBy", "trashUntil"]
_MANIFEST_COLUMNS = ["digest", "tags", "deletedAt", "deletedBy", "trashUntil", "run"]
_STATE_COLUMNS = ["digest", "setAt", "setBy", "endedAt", "endedBy", "ending", "isRestorable"]


@trash.command(name="list")
def list_trash(repository: str = "", *, at: At = HERE) -> None:
    """List deleted repositories; or what was deleted in a REPOSITORY that is there."""
    with connect(at) as api:
        if repository:
            entries = api.pages("manifests", *split(repository), "trash")
            show(at, entries, _MANIFEST_COLUMNS)
        else:
            show(at, api.pages("repositories", "trash"), _REPOSITORY_COLUMNS)


@trash.command(name="restore")
def restore(repository: str, digest: str = "", *, name: str = "", at: At = HERE) -> None:
    """Restore a deleted REPOSITORY (its name, or its id in the list; under another --name if that
    is taken), or a manifest of a REPOSITORY by its DIGEST. One of an account that is gone goes by
    its id only.
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
            raise NameInvalid(f"there is no {repository} in the trash: see `dtrfast trash list`")
        number = found[-1]["id"]
        if found[-1]["changesOwner"] and repository != number:
            raise NameInvalid(
                f"{repository} in the trash was of an account that is gone or has another name:"
                f" to give it to another owner, name it by its id, {number}"
            )
        answer = api.call("POST", "trash", number, "restore", body={"name": name})
        done(at, answer, f"restored the repository {name or repository}")


@trash.command(name="restore-run")
def restore_run(run: str, *, at: At = HERE) -> None:
    """Restore all manifests that one RUN of a policy deleted."""
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
    """Show what a TAG points at and pointed at, with who and when."""
    with connect(at) as api:
        answer = api.call("GET", *split(repository), "tags", tag, "history")
    show(at, answer["states"], _STATE_COLUMNS)


@tags.command(name="restore")
def restore_tag(repository: str, tag: str, digest: str = "", *, at: At = HERE) -> None:
    """Point a TAG at what it pointed at before, or at an earlier DIGEST."""
    with connect(at) as api:
        body = {"digest": digest}
        answer = api.call("POST", *split(repository), "tags", tag, "restore", body=body)
    done(at, answer, f"{repository}:{tag} is {answer['digest']} again")
