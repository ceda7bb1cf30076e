"""Settings, tab by tab. A change goes through `differences.review` before it is made."""

from __future__ import annotations

import platform
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

import msgspec

from dtrfast.api.v0 import accounts, administration, diagnostics, jobs, ldap, storage
from dtrfast.console import labels
from dtrfast.console.page import Page, PageFunction, View
from dtrfast.errors import CredentialUnknown
from dtrfast.identity.ldap.settings import LdapSettings, UserSet

_RUNS_PAGE = 25
_ACCOUNTS_COUNTED_MAX = 1000
# What may have become of a run, in words.
STATES = {
    "running": "running",
    "done": "done",
    "error": "failed",
    "canceled": "cancelled",
    "worker_dead": "interrupted",
}
# Tasks that give room back, by what the housekeeper calls them.
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


def show_general(page: Page) -> View:
    """What is set for all repositories, and what the server was started with."""
    access = page.ask(administration.get_access_settings)
    return View(
        "settings/general.html",
        {
            "tab": "general",
            "labels": labels.FIELDS,
            "access": access,
            "external_url": page.asker.config.server.external_url,
            "groups": labels.of_settings(page.asker.config.settings()),
        },
    )


def show_security(page: Page) -> View:
    page.ask(administration.get_access_settings)
    certificate = page.find(administration.get_certificate)
    return View("settings/security.html", {"tab": "security", "certificate": certificate})


def show_storage(page: Page) -> View:
    """What is stored, and how long. How much only the trash holds is measured when it is asked."""
    is_measured = page.query.get("trash") == "1"
    query = {"trash": "true"} if is_measured else None
    state = page.ask(storage.get_storage, query=query)
    values = {"state": state, "is_measured": is_measured}
    if page.is_fragment:
        return View("fragments/trash_size.html", values)
    found = page.ask(jobs.list_jobs, query={"limit": 0})
    return View(
        "settings/storage.html",
        {
            "tab": "storage",
            **values,
            "labels": labels.FIELDS,
            "policies": page.ask(storage.get_storage_settings),
            **_damages(page),
            "usages": _measured(page),
            "freeing": [task for task in found.tasks if task.name in _FREEING],
        },
    )


def _damages(page: Page) -> dict[str, Any]:
    listing = page.listing("-found", of="damages-")
    found = page.ask(storage.list_damages, query=listing.query())
    return {
        "damages": found.damages,
        "damages_listing": listing,
        "damages_start": found.next_page_start,
    }


def _measured(page: Page) -> list[Any]:
    """The repositories that would free most, of those that were measured."""
    return page.ask(storage.list_usages, query={"limit": 20, "sort": "-freed"}).usages


def show_auth(page: Page) -> View:
    config = page.asker.config
    if config.auth.mode == "none":
        return View("settings/auth_off.html", {"tab": "auth"})
    document = page.find(ldap.get_ldap_settings)
    given = document or LdapSettings(server_urls=(), user_sets=())
    return View(
        "settings/auth.html",
        {
            "tab": "auth",
            "labels": labels.FIELDS,
            "is_ldap": document is not None,
            "ldap": given,
            # One more than there are, for another one.
            "user_sets": (*(given.user_sets or (UserSet(base_dn=""),)), UserSet(base_dn="")),
            "accounts_of_directory": _count_of_directory(page),
            "last_sync": page.glance(ldap.get_last_sync),
            "oidc": page.ask(administration.get_oidc_settings),
            "token_seconds": config.auth.token_seconds,
        },
    )


def _count_of_directory(page: Page) -> str:
    """How many accounts came from the directory, in words; empty where none did."""
    query = {"type": "user", "source": "ldap", "limit": _ACCOUNTS_COUNTED_MAX}
    found = page.ask(accounts.list_accounts, query=query)
    if not found.accounts:
        return ""
    if found.next_page_start:
        return f"More than {len(found.accounts)} accounts"
    return "1 account" if len(found.accounts) == 1 else f"{len(found.accounts)} accounts"


def show_jobs(page: Page) -> View:
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
            "names": [*(one.name for one in found.jobs), *(one.name for one in found.tasks)],
            "waiting": [one for one in found.jobs if one.is_waiting],
            "found": found,
            "listing": listing,
            "next_start": found.next_page_start,
            "is_running": any(run.state == "running" for run in found.runs)
            or any(job.is_waiting for job in found.jobs),
        },
    )


def show_log(page: Page) -> View:
    """The log of a run, which is asked for as long as the run goes on."""
    number = page.query.get("run", "")
    after = str(int(number) + 1) if number.isdecimal() and len(number) < 18 else "1"
    found = page.ask(jobs.list_jobs, query={"start": after, "limit": 1})
    runs = [run for run in found.runs if run.id == number]
    if not runs:
        raise CredentialUnknown("there is no such run")
    return View("fragments/run_log.html", {"run": runs[0]})


def show_about(page: Page) -> View:
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
    """What is new: the first section of the changelog, of the version that runs."""
    text = files("dtrfast.console").joinpath("CHANGELOG.md").read_text(encoding="utf-8")
    sections = text.split("\n## ")
    return f"## {sections[1].strip()}" if len(sections) > 1 else ""


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def bundle(page: Page) -> View:
    """The support bundle, as an archive."""
    document = msgspec.to_builtins(page.ask(diagnostics.get_diagnostics))
    name = time.strftime("dtrfast-diagnostics-%Y%m%d-%H%M%S")
    return View(
        content=diagnostics.pack(document, name),
        media_type="application/gzip",
        file_name=f"{name}.tar.gz",
    )


def start(page: Page) -> View:
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
