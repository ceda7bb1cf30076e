"""Settings, tab by tab. A change goes through `differences.review` before it is made."""

from __future__ import annotations

import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from dtrfast.api.v0 import accounts, administration, diagnostics, jobs, ldap, storage
from dtrfast.console import labels
from dtrfast.console.page import Page, PageFunction, View
from dtrfast.identity.ldap.settings import LdapSettings, UserSet

_RUNS_PAGE = 25
_ACCOUNTS_COUNTED_MAX = 1000
_PARTS = ("starlette", "hypercorn", "uvloop", "lmdb", "xxhash", "zstandard", "cryptography")


def show_general(page: Page) -> View:
    """What is set for all repositories, and what the server was started with."""
    access = page.ask(administration.get_access_settings)
    started = [
        (setting.name, setting.value, setting.origin) for setting in page.asker.config.settings()
    ]
    return View("settings/general.html", {"tab": "general", "access": access, "started": started})


def show_security(page: Page) -> View:
    page.ask(administration.get_access_settings)
    certificate = page.find(administration.get_certificate)
    return View("settings/security.html", {"tab": "security", "certificate": certificate})


def show_storage(page: Page) -> View:
    return View(
        "settings/storage.html",
        {
            "tab": "storage",
            "state": page.ask(storage.get_storage, query={"trash": "true"}),
            "policies": page.ask(storage.get_storage_settings),
            **_damages(page),
            "usages": _measured(page),
            "data": page.asker.config.store.data.absolute(),
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
            "user_sets": (*given.user_sets, UserSet(base_dn="")),
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
    query = {"limit": _RUNS_PAGE, "start": listing.start}
    found = page.ask(jobs.list_jobs, query=query)
    template = "fragments/runs.html" if page.is_fragment else "settings/jobs.html"
    return View(
        template,
        {
            "tab": "jobs",
            "found": found,
            "listing": listing,
            "next_start": found.next_page_start,
            "is_running": any(run.state == "running" for run in found.runs)
            or any(job.is_waiting for job in found.jobs),
        },
    )


def show_about(page: Page) -> View:
    page.ask(administration.get_access_settings)
    return View(
        "settings/about.html",
        {
            "tab": "about",
            "python": sys.version.split()[0],
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "parts": [(name, _version(name)) for name in _PARTS],
        },
    )


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
    "/settings/about": show_about,
    "/settings/about/bundle": bundle,
}
