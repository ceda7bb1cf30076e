"""What settings are called: on their forms, in differences, and on the page of the server's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dtrfast.config import Setting
from dtrfast.console import texts

# Of the documents of settings, by the names of their fields. A test finds those without a label.
FIELDS: Mapping[str, str] = {
    "createOnPush": "Create repositories on push",
    "createNamespaceOnPush": "Pushes of administrators create namespaces",
    "publicOnPush": "Repositories created by a push are public",
    "tokenDaysDefault": "New tokens expire after (days)",
    "trashDays": "Keep deleted items for (days)",
    "untaggedDays": "Delete untagged images after (days)",
    "scrubDays": "Read and verify all data every (days)",
    "scrubBytesPerSecond": "Verify at most (bytes per second)",
    "reserveBytes": "Refuse pushes below this much free space (bytes)",
    "serverUrls": "Server",
    "startTls": "Encrypt ldap:// connections with StartTLS",
    "caPem": "Trusted certificate authorities (PEM)",
    "searchDn": "Search account (DN)",
    "searchPassword": "Password of the search account",
    "userSets": "Users",
    "userSets.baseDn": "Base DN",
    "userSets.scope": "Scope",
    "userSets.filter": "Filter",
    "userSets.loginAttribute": "Login attribute",
    "userSets.fullNameAttribute": "Full name attribute",
    "userSets.loginIsEmail": "The login is an e-mail address: use the part before the @",
    "idAttribute": "Attribute that stays the same when a user is renamed",
    "adminGroup": "Group of system administrators",
    "adminGroup.dn": "Group of system administrators (DN)",
    "adminGroup.memberAttribute": "Attribute with the group's members",
    "nestedGroups": "Include members of nested groups",
    "syncIntervalSeconds": "Synchronise every (seconds)",
    "timeoutSeconds": "Wait for a server at most (seconds)",
    "outageSeconds": "Accept the last correct password during an outage for (seconds)",
    "pageSize": "Entries per page",
    "removalShareMax": "Share that may be removed without being asked for (0 to 1)",
    "issuers": "Issuer",
    "issuers.name": "Name",
    "issuers.url": "Issuer URL",
    "issuers.audience": "Audience",
    "issuers.jwksUrl": "Keys (JWKS) URL",
    "issuers.caPem": "Trusted certificate authorities (PEM)",
    "issuers.bearerTokenFile": "File with a token to ask for the keys",
}

# Of the settings that the server was started with, in the order and groups of their page.
_GROUPS: Mapping[str, Mapping[str, str]] = {
    "Network": {
        "server.bind": "Address to listen on",
        "server.external_url": "Address that clients use",
        "server.cors_origins": "Pages of others that may use the registry (CORS)",
        "server.trusted_proxies": "Proxies that are believed",
        "server.proxy_protocol": "PROXY protocol",
        "server.tls": "TLS",
        "server.tls_cert": "Certificate file",
        "server.tls_key": "Private key file",
        "server.tls_client_ca": "Authorities of client certificates",
        "server.hsts_seconds": "Browsers use https only for (HSTS)",
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
# Values that say more than they show.
_VALUES: Mapping[tuple[str, object], str] = {
    ("server.workers", 0): "one for each core",
    ("server.tls", "auto"): "automatic: on addresses that other machines reach",
    ("server.tls", "off"): "off",
    ("server.proxy_protocol", "off"): "off",
    ("server.proxy_protocol", "required"): "each connection begins with a PROXY header",
    ("server.trusted_proxies", ()): "none",
    ("server.hsts_seconds", 0): "no time: they are told to forget it",
    ("auth.mode", "managed"): "managed here",
    ("auth.mode", "none"): "off: everybody may do everything",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A setting in words; `name` is what it is called in the configuration file."""

    label: str
    value: str
    name: str
    origin: str


def of_field(name: str) -> str:
    """The label of a field by its name with dots and numbers: `userSets.1.filter`."""
    pieces = name.split(".")
    number = next((piece for piece in pieces if piece.isdecimal()), "")
    key = ".".join(piece for piece in pieces if not piece.isdecimal())
    label = FIELDS.get(key, key)
    if not number:
        return label
    group = f"{FIELDS.get(pieces[0], pieces[0])} {number}"
    return group if key == pieces[0] else f"{group}: {label}"


def of_settings(settings: Iterable[Setting]) -> list[tuple[str, list[Row]]]:
    """The server's own settings, in groups. None is left out."""
    by_name = {setting.name: setting for setting in settings}
    grouped = [
        (title, [_row(label, by_name.pop(name)) for name, label in labels.items()])
        for title, labels in _GROUPS.items()
    ]
    others = [_row(setting.name, setting) for setting in by_name.values()]
    return [*grouped, ("Other", others)] if others else grouped


def _row(label: str, setting: Setting) -> Row:
    return Row(label, _value(setting), setting.name, setting.origin)


def _value(setting: Setting) -> str:
    name, value = setting.name, setting.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if (name, value) in _VALUES:
        return _VALUES[name, value]
    if isinstance(value, int | float):
        if name.endswith("_seconds"):
            return texts.length(value)
        is_bytes = name.endswith("size_max") and name != "registry.page_size_max"
        return texts.size(value) if is_bytes else texts.count(value)
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text or "not set"
