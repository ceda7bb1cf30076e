"""Settings, tab by tab. Changes are shown by `reviews.review` before they are applied."""

from __future__ import annotations

import platform
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files

import msgspec

from dtrfast.api.v0 import accounts, administration, diagnostics, jobs, ldap, storage
from dtrfast.console import labels
from dtrfast.console.page import PageFunction, PageRequest, View
from dtrfast.errors import CredentialUnknown
from dtrfast.identity.ldap.settings import LdapSettings, UserSet
from dtrfast.machine import archive

_RUNS_PAGE = 25
_ACCOUNTS_COUNTED_MAX = 1000
# The measured repositories, those first whose deletion would free most; and the number shown.
_MEASURED = {"limit": 1000, "sort": "-freed"}
_LARGEST_MAX = 20
# The states of a run in words.
STATES = {
    "running": "running",
    "done": "done",
    "error": "failed",
    "canceled": "canceled",
    "worker_dead": "interrupted",
}
# The background tasks that free space, by their names.
_FREEING = frozenset(
    {
        "trash",
        "untagged manifests",
        "deleted repositories",
        "unreferenced blobs",
        "unlinked contents",
        "sparse packs",
        "expired uploads",
    }
)
_PARTS = ("starlette", "hypercorn", "uvloop", "lmdb", "xxhash", "zstandard", "cryptography")


def show_general(page: PageRequest) -> View:
    """Show the settings of access, and those that the server was started with."""
    access = page.ask(administration.get_access_settings)
    return View(
        "settings/general.html",
        {
            "tab": "general",
            "access": access,
            "external_url": page.client.config.server.external_url,
            "groups": labels.of_settings(page.client.config.settings()),
        },
    )


def show_security(page: PageRequest) -> View:
    page.ask(administration.get_access_settings)
    certificate = page.find(administration.get_certificate)
    return View("settings/security.html", {"tab": "security", "certificate": certificate})


def show_storage(page: PageRequest) -> View:
    """Show what is stored and for how long. The size of the trash is measured on request."""
    is_measured = page.query.get("trash") == "1"
    query = {"trash": "true"} if is_measured else None
    state = page.ask(storage.get_storage, query=query)
    values = {"state": state, "is_measured": is_measured}
    if page.is_fragment:
        return View("fragments/trash_size.html", values)
    found = page.ask(jobs.list_jobs, query={"limit": 0})
    listing = page.listing("-found", of="damages-")
    damages = page.ask(storage.list_damages, query=listing.query())
    measured = page.ask(storage.list_usages, query=_MEASURED)
    return View(
        "settings/storage.html",
        {
            "tab": "storage",
            **values,
            "policies": page.ask(storage.get_storage_settings),
            "damages": damages.damages,
            "damages_listing": listing,
            "damages_start": damages.next_page_start,
            "measured": measured,
            "usages": [one for one in measured.usages if one.freed_bytes][:_LARGEST_MAX],
            "freeing": [task for task in found.tasks if task.name in _FREEING],
        },
    )


def show_auth(page: PageRequest) -> View:
    config = page.client.config
    if config.auth.mode == "none":
        return View("settings/auth_off.html", {"tab": "auth"})
    document = page.find(ldap.get_ldap_settings)
    given = document or LdapSettings(server_urls=(), user_sets=())
    return View(
        "settings/auth.html",
        {
            "tab": "auth",
            "labels": labels.LABELS,
            "is_ldap": document is not None,
            "ldap": given,
            # One more than stored: empty fields to add another.
            "user_sets": (*(given.user_sets or (UserSet(base_dn=""),)), UserSet(base_dn="")),
            "accounts_of_directory": _count_of_directory(page),
            "last_sync": page.glance(ldap.get_last_sync),
            "oidc": page.ask(administration.get_oidc_settings),
            "token_seconds": config.auth.token_seconds,
        },
    )


def _count_of_directory(page: PageRequest) -> str:
    """Return the number of accounts from the directory in words; empty for none."""
    query = {"type": "user", "source": "ldap", "limit": _ACCOUNTS_COUNTED_MAX}
    found = page.ask(accounts.list_accounts, query=query)
    if not found.accounts:
        return ""
    if found.next_page_start:
        return f"More than {len(found.accounts)} accounts"
    return "1 account" if len(found.accounts) == 1 else f"{len(found.accounts)} accounts"


def show_jobs(page: PageRequest) -> View:
    listing = page.listing("")
    job, state = page.query.get("job", ""), page.query.get("state", "")
    state = state if state in STATES else ""
    query = {"limit": _RUNS_PAGE, "start": listing.start, "job": job, "state": state}
    found = page.ask(jobs.list_jobs, query=query)
    template = "fragments/runs.html" if page.is_fragment else "settings/jobs.html"
    return View(
        template,
        {
            "tab": "jobs",
            "job": job,
            "state": state,
            "states": STATES,
            "tasks": [one.name for one in found.tasks],
            "waiting": [one for one in found.jobs if one.is_waiting],
            "found": found,
            "listing": listing,
            "next_start": found.next_page_start,
            "is_running": any(run.state == "running" for run in found.runs)
            or any(job.is_waiting for job in found.jobs),
        },
    )


def show_log(page: PageRequest) -> View:
    """Show the log of a run. The page asks again while the run goes on."""
    number = page.query.get("run", "")
    after = str(int(number) + 1) if number.isdecimal() and len(number) < 18 else "1"
    found = page.ask(jobs.list_jobs, query={"start": after, "limit": 1})
    runs = [run for run in found.runs if run.id == number]
    if not runs:
        raise CredentialUnknown("there is no such run")
    return View("fragments/run_log.html", {"run": runs[0]})


def show_about(page: PageRequest) -> View:
    page.ask(administration.get_access_settings)
    return View(
        "settings/about.html",
        {
            "tab": "about",
            "python": sys.version.split()[0],
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "parts": [(name, _version(name)) for name in _PARTS],
            "notes": _notes(),
        },
    )


@cache
def _notes() -> str:
    """Return the first section of the changelog, which is that of the running version."""
    text = files("dtrfast.console").joinpath("CHANGELOG.md").read_text(encoding="utf-8")
    sections = text.split("\n## ")
    return f"## {sections[1].strip()}" if len(sections) > 1 else ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def bundle(page: PageRequest) -> View:
    """Return the support bundle as an archive."""
    document = msgspec.to_builtins(page.ask(diagnostics.get_diagnostics))
    name = time.strftime("dtrfast-diagnostics-%Y%m%d-%H%M%S")
    return View(
        content=archive.pack(document, name),
        media_type="application/gzip",
        file_name=f"{name}.tar.gz",
    )


def start(page: PageRequest) -> View:
    """Lead to the first tab."""
    return View(location="/settings/general")


PAGES: dict[str, PageFunction] = {
    "/settings": start,
    "/settings/general": show_general,
    "/settings/security": show_security,
    "/settings/storage": show_storage,
    "/settings/auth": show_auth,
    "/settings/jobs": show_jobs,
    "/settings/jobs/log": show_log,
    "/settings/about": show_about,
    "/settings/about/bundle": bundle,
}
