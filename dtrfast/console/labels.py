"""Labels of API fields and of the server's settings: in forms, in reviews and on pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dtrfast.config import Setting
from dtrfast.console import formatting


@dataclass(frozen=True, slots=True)
class FieldText:
    """The texts of one field of an API object: its label, and a help text for forms.

    `options` are the texts of the values of a choice. A field that `needs_accounts` has no effect
    without them.
    """

    label: str
    help: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    needs_accounts: bool = False


# The texts of fields, by their names in the API; dots lead into groups. A field of another name
# gets a label that is made of its name.
FIELDS: Mapping[str, FieldText] = {
    # Repositories.
    "shortDescription": FieldText("Description", "One line, shown in lists and by docker search."),
    "longDescription": FieldText(
        "README",
        "Markdown as on GitHub, with tables and task lists (- [ ] and - [x]), up to 64 KiB."
        " Images are shown as their addresses.",
    ),
    "visibility": FieldText(
        "Visibility",
        options={
            "private": "Private: only users with access",
            "public": "Public: everyone can pull without signing in",
        },
        needs_accounts=True,
    ),
    "references": FieldText("Selection"),
    "actions": FieldText("Permissions"),
    "scopes": FieldText("Scope"),
    "scopes.repository": FieldText("Repository"),
    "scopes.actions": FieldText("Permissions"),
    # Accounts.
    "oldPassword": FieldText("Current password"),
    "csv": FieldText("Comma-separated values"),
    # Settings of access.
    "createOnPush": FieldText(
        "Create repositories on push",
        "For users who may create repositories there."
        " If it is off, create them before the first push.",
    ),
    "createNamespaceOnPush": FieldText(
        "Pushes of administrators create namespaces",
        "For names that belong to no account. If it is off, pushes of mistyped names are refused.",
    ),
    "publicOnPush": FieldText(
        "Repositories created by a push are public",
        "Everyone can pull from a public repository without signing in.",
    ),
    "tokenDaysDefault": FieldText(
        "New tokens expire after (days)", "Used when no other time is given. 0: never."
    ),
    # Settings of storage.
    "trashDays": FieldText(
        "Keep deleted items for (days)",
        "Until then, you can restore deleted repositories, tags and images.",
    ),
    "untaggedDays": FieldText(
        "Delete untagged images after (days)", "They go to the trash first. 0: never."
    ),
    "scrubDays": FieldText(
        "Read and verify all data every (days)", "This finds damage on the disk. 0: never."
    ),
    "scrubBytesPerSecond": FieldText("Verify at most", "So that clients keep most of the disk."),
    "reserveBytes": FieldText(
        "Refuse pushes below this much free space", "It leaves room to delete and to clean up."
    ),
    # Settings of the directory.
    "serverUrls": FieldText("Server"),
    "startTls": FieldText("Encrypt ldap:// connections with StartTLS"),
    "caPem": FieldText("Trusted certificate authorities (PEM)"),
    "searchDn": FieldText("Search account (DN)"),
    "searchPassword": FieldText("Password of the search account"),
    "userSets": FieldText("Users"),
    "userSets.baseDn": FieldText("Base DN"),
    "userSets.scope": FieldText("Scope"),
    "userSets.filter": FieldText("Filter"),
    "userSets.loginAttribute": FieldText("Login attribute"),
    "userSets.fullNameAttribute": FieldText("Full name attribute"),
    "userSets.loginIsEmail": FieldText("The login is an e-mail address: use the part before the @"),
    "idAttribute": FieldText("Attribute that stays the same when a user is renamed"),
    "adminGroup": FieldText("Group of system administrators"),
    "adminGroup.dn": FieldText("Group of system administrators (DN)"),
    "adminGroup.memberAttribute": FieldText("Attribute with the group's members"),
    "nestedGroups": FieldText("Include members of nested groups"),
    "syncIntervalSeconds": FieldText("Synchronize every"),
    "timeoutSeconds": FieldText("Wait for a server at most"),
    "outageSeconds": FieldText("Accept the last correct password during an outage for"),
    "pageSize": FieldText("Entries per page"),
    "removalShareMax": FieldText("Share that may be removed without confirmation (0 to 1)"),
    # Issuers.
    "issuers": FieldText("Issuer"),
    "issuers.name": FieldText("Name"),
    "issuers.url": FieldText("Issuer URL"),
    "issuers.audience": FieldText("Audience"),
    "issuers.jwksUrl": FieldText("Keys (JWKS) URL"),
    "issuers.caPem": FieldText("Trusted certificate authorities (PEM)"),
    "issuers.bearerTokenFile": FieldText("File with a token to ask for the keys"),
}
LABELS: Mapping[str, str] = {name: text.label for name, text in FIELDS.items()}

# The numbers that pages show: one label for each, and the things that it counts.
FIGURES: Mapping[str, FieldText] = {
    # Activity.
    "images_pushed": FieldText(
        "Images pushed",
        "Manifests that clients pushed: of images, indexes and signatures. An image for two"
        " platforms counts three times, since its index counts, too.",
    ),
    "images_pulled": FieldText(
        "Images pulled",
        "Manifests that clients pulled. Requests that only ask if an image exists do not count.",
    ),
    "bytes_in": FieldText(
        "Sent by clients",
        "Content on the network, from clients. Layers that the repository has are not sent again.",
    ),
    "bytes_out": FieldText("Sent to clients", "Content on the network, to clients."),
    "pull_seconds": FieldText(
        "Read requests, median",
        "From a request (GET or HEAD) to the end of its answer. A pull has several requests.",
    ),
    "push_seconds": FieldText(
        "Write requests, median",
        "From a request (POST, PATCH, PUT or DELETE) to the end of its answer. A push has several.",
    ),
    "refused": FieldText(
        "Requests refused", "Answers with a status of 400 to 499, except 401 and 404."
    ),
    "failed": FieldText("Requests failed", "Answers with a status of 500 or more."),
    # The store.
    "logical_bytes": FieldText(
        "Size of all images",
        "The size of all blobs. A blob counts in each repository that has it, also if clients sent"
        " it only once.",
    ),
    "equal_blobs_bytes": FieldText(
        "Saved by equal blobs", "A blob that several repositories have is stored once."
    ),
    "equal_chunks_bytes": FieldText(
        "Saved by equal chunks",
        "Parts that are equal in several layers or files are stored once. Layers that clients"
        " compress have no such parts.",
    ),
    "compression_bytes": FieldText(
        "Saved by compression",
        "Chunks are compressed where it pays. Layers that clients compress stay as they are.",
    ),
    "overhead_bytes": FieldText(
        "Overhead", "Deleted content that is not reclaimed yet, and data for repairs."
    ),
    "stored_bytes": FieldText(
        "On disk", "The files of blobs and packs, also of those in the trash; without the index."
    ),
    # Measurements of a repository, an image or an organization.
    "download_bytes": FieldText(
        "Download size",
        "A client that has nothing would transfer this to pull all of it. A blob counts once.",
    ),
    "own_stored_bytes": FieldText(
        "On disk", "Its blobs and chunks, as they are stored; each once."
    ),
    "unique_bytes": FieldText("Unique", "The part of the bytes on disk that nothing else needs."),
    "shared_bytes": FieldText(
        "Shared", "The part of the bytes on disk that other images or repositories need, too."
    ),
    "freed_bytes": FieldText(
        "Deleting frees", "Free after a deletion, once the content has left the trash."
    ),
}

# The labels of the settings that the server was started with, in the order and groups of the page.
_GROUPS: Mapping[str, Mapping[str, str]] = {
    "Network": {
        "server.bind": "Address to listen on",
        "server.external_url": "Address that clients use",
        "server.cors_origins": "Other origins that may use the registry (CORS)",
        "server.trusted_proxies": "Trusted proxies",
        "server.proxy_protocol": "PROXY protocol",
        "server.tls": "TLS",
        "server.tls_cert": "Certificate file",
        "server.tls_key": "Private key file",
        "server.tls_client_ca": "Authorities of client certificates",
        "server.hsts_seconds": "Browsers use only https for (HSTS)",
        "server.http2": "HTTP/2",
    },
    "Processes and limits": {
        "server.workers": "Worker processes",
        "server.threads_per_worker": "Threads in each worker",
        "server.connections_max": "Connections of each worker at most",
        "server.head_size_max": "Request headers at most",
        "server.keep_alive_seconds": "Close idle connections after",
        "server.idle_body_seconds": "Cut stalled transfers after",
        "server.graceful_stop_seconds": "Wait for transfers when stopping",
        "server.lanes": "Fast path for small answers and blobs",
    },
    "Storage": {
        "store.data": "Data directory",
        "store.upload_expiry_seconds": "Drop abandoned uploads after",
        "store.grace_seconds": "Keep unused blobs for",
    },
    "Registry": {
        "registry.delete": "Deleting is allowed",
        "registry.require_blobs": "Manifests need their blobs",
        "registry.require_children": "Indexes need their manifests",
        "registry.page_size_max": "Entries per page at most",
        "registry.manifest_size_max": "Manifest size at most",
        "registry.open_uploads_max": "Open uploads of a user in a repository at most",
    },
    "Logging": {
        "log.format": "Format",
        "log.level": "Least important messages",
        "log.access": "Log every request",
        "log.audit_size_max": "Audit events on disk at most",
    },
    "Accounts": {
        "auth.mode": "Accounts",
        "auth.token_seconds": "Access tokens of clients expire after",
        "auth.token_file_directories": "Directories with tokens for issuers",
    },
    "Calls to other services": {
        "outgoing.allow": "Private networks that repository owners may name",
        "outgoing.proxy": "Proxy",
        "outgoing.no_proxy": "Called without the proxy",
    },
}
# Values that need words.
_VALUES: Mapping[tuple[str, object], str] = {
    ("server.workers", 0): "one for each core",
    ("server.tls", "auto"): "automatic: on addresses that other machines reach",
    ("server.tls", "off"): "off",
    ("server.proxy_protocol", "off"): "off",
    ("server.proxy_protocol", "required"): "each connection begins with a PROXY header",
    ("server.trusted_proxies", ()): "none",
    ("server.hsts_seconds", 0): "not at all: browsers forget it",
    ("auth.mode", "managed"): "managed here",
    ("auth.mode", "none"): "off: everyone can do everything",
}


@dataclass(frozen=True, slots=True)
class SettingRow:
    """A setting of the server in words; `name` is its name in the configuration file."""

    label: str
    value: str
    name: str
    origin: str


def text_of(name: str) -> FieldText:
    """Return the texts of a field; for `homepageUrl` without texts the label is "Homepage url"."""
    if name in FIELDS:
        return FIELDS[name]
    words = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: f" {match[1].lower()}", name)
    return FieldText(words[:1].upper() + words[1:])


def of_field(name: str) -> str:
    """Return the label of a field by its name with dots and numbers: `userSets.1.filter`."""
    pieces = name.split(".")
    number = next((piece for piece in pieces if piece.isdecimal()), "")
    key = ".".join(piece for piece in pieces if not piece.isdecimal())
    label = LABELS.get(key, key)
    if not number:
        return label
    group = f"{LABELS.get(pieces[0], pieces[0])} {number}"
    return group if key == pieces[0] else f"{group}: {label}"


def of_settings(settings: Iterable[Setting]) -> list[tuple[str, list[SettingRow]]]:
    """Return all settings of the server in groups; those without a label are in "Other"."""
    by_name = {setting.name: setting for setting in settings}
    grouped = [
        (title, [_row(label, by_name.pop(name)) for name, label in labels.items()])
        for title, labels in _GROUPS.items()
    ]
    others = [_row(setting.name, setting) for setting in by_name.values()]
    return [*grouped, ("Other", others)] if others else grouped


def _row(label: str, setting: Setting) -> SettingRow:
    return SettingRow(label, _value(setting), setting.name, setting.origin)


def _value(setting: Setting) -> str:
    name, value = setting.name, setting.value
    if isinstance(value, bool):
        return "on" if value else "off"
    if (name, value) in _VALUES:
        return _VALUES[name, value]
    if isinstance(value, int | float):
        if name.endswith("_seconds"):
            return formatting.length(value)
        is_bytes = name.endswith("size_max") and name != "registry.page_size_max"
        return formatting.size(value) if is_bytes else formatting.count(value)
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text or "not set"
