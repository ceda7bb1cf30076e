"""Every table of the index, and the shape of its keys. `docs/format.md` describes the values.

Local tables say how bytes lie on this machine; shared tables say what the registry holds. Numbers
in keys are 8 bytes, big-endian, so that byte order is number order.
"""

from __future__ import annotations

from dtrfast.index.engine import Table


def _local(name: str) -> Table:
    return Table(name, "local")


def _shared(name: str) -> Table:
    return Table(name, "shared")


# ---- local --------------------------------------------------------------------------------
STORE = _local("store")  # counters, statistics, the boot of the last sweep
BLOBS = _local("blobs")  # digest key → content number
CONTENTS = _local("contents")  # content number → Content
RECIPES = _local("recipes")  # content number + offset of the row's first byte → recipe row
CHUNKS = _local("chunks")  # chunk id → Chunk
CHUNK_HASHES = _local("chunk_hashes")  # XXH3-128 + chunk id → empty
CHUNKS_UNREFERENCED = _local("chunks_unreferenced")  # time + chunk id: from format 1.0, see upgrade
PACKS = _local("packs")  # pack number → Pack
PACKS_SPARSE = _local("packs_sparse")  # pack number → empty: packs that are worth compacting
FILES = _local("files")  # file id → kind + number: the files that belong to the index
FILES_UNOWNED = _local("files_unowned")  # file id → kind: files not yet, or no more, in FILES
CONTENTS_UNLINKED = _local("contents_unlinked")  # content number → time (a hint)
DAMAGES = _local("damages")  # kind + number → what is known to be damaged
COMMITS = _local("commits")  # upload id → a commit whose slices are not all written
UPLOADS_FINISHED = _local("uploads_finished")  # upload id → time + digest key + label

# ---- shared --------------------------------------------------------------------------------
META = _shared("meta")  # counters
REPOSITORIES = _shared("repositories")  # name → repository record
REPOSITORY_NAMES = _shared("repository_names")  # repository id → name
CATALOG = _shared("catalog")  # name → empty: the repositories that hold something
MANIFESTS = _shared("manifests")  # repository id + digest key → record and bytes
OUTLINES = _shared("outlines")  # MANIFESTS's key → outline of a large manifest
TAGS = _shared("tags")  # repository id + tag → tag record
MANIFEST_TAGS = _shared("manifest_tags")  # repository id + digest key + tag → empty
REFERRERS = _shared("referrers")  # repository id + subject key + referrer key → descriptor
LINKS = _shared("links")  # repository id + digest key → Link
HOLDERS = _shared("holders")  # digest key + repository id → empty: LINKS the other way round
REFERENCES = _shared("references")  # repository id + blob digest key + manifest digest key → empty
REFERENCES_DELETED = _shared("references_deleted")  # those of manifests in the trash
MANIFESTS_DELETED = _shared("manifests_deleted")  # repository id + digest key → what it was
MANIFESTS_UNTAGGED = _shared("manifests_untagged")  # time + MANIFESTS's key → empty (a hint)
TAG_HISTORY = _shared("tag_history")  # repository id + tag + zero byte + sequence → what it was
TRASH = _shared("trash")  # time + kind + key → empty: what is in the trash, oldest first
REPOSITORIES_TRASHED = _shared("repositories_trashed")  # repository id → what it was
USAGES = _shared("usages")  # name of a repository or namespace → how much room it takes
LINKS_UNREFERENCED = _shared(
    "links_unreferenced"
)  # time + repository id + digest key → empty (a hint)
BLOBS_UNHELD = _shared("blobs_unheld")  # digest key → sequence of the change that let go of it
CHANGES = _shared("changes")  # sequence → change not yet in the change log
JOBS = _shared("jobs")  # kind + name or number → wishes, tasks and runs of the housekeeper
PULLS = _shared("pulls")  # repository id + kind + tag or digest key → time of the last pull
PUBLIC = _shared("public")  # name → empty: the repositories that everybody may pull from
READMES = _shared("readmes")  # repository id → text
READMES_HTML = _shared("readmes_html")  # repository id → what the text was rendered to
READMES_WAITING = _shared("readmes_waiting")  # repository id → empty: to be rendered
REPOSITORIES_DELETED = _shared("repositories_deleted")  # repository id → time: rows to be removed

# Accounts, teams and tokens have ids from one counter. Names are ASCII, so their order is theirs.
ACCOUNTS = _shared("accounts")  # account id → account record
ACCOUNT_NAMES = _shared("account_names")  # name → account id
DIRECTORY_IDS = _shared("directory_ids")  # stable id in the LDAP directory → account id
PASSWORDS = _shared("passwords")  # account id → hash, and of what it is one
TEAMS = _shared("teams")  # organization id + team name → team record
TEAM_NAMES = _shared("team_names")  # team id → organization id + team name
TEAM_MEMBERS = _shared("team_members")  # team id + user name → user id
MEMBERS = _shared("members")  # organization id + user name → user id + number of teams
USER_TEAMS = _shared("user_teams")  # user id + organization id + team id → flags
GRANTS = _shared("grants")  # place (repository or namespace) + grantee id → level
GRANTEES = _shared("grantees")  # grantee id + place → level: GRANTS the other way round
TOKENS = _shared("tokens")  # SHA-256 of the token → token record
ACCOUNT_TOKENS = _shared("account_tokens")  # account id + token id → SHA-256 of the token
TOKEN_USES = _shared("token_uses")  # token id → time and address of the last use
SESSIONS = _shared("sessions")  # SHA-256 of the session's id → session record
ACCOUNT_SESSIONS = _shared("account_sessions")  # account id + opened at + SESSIONS's key → empty
KNOWN_ADDRESSES = _shared("known_addresses")  # account id + network → time of a sign-in from there
TRUSTS = _shared("trusts")  # repository id + name → trust record
SIGNING_KEYS = _shared("signing_keys")  # key id → key record
SETTINGS = _shared("settings")  # name → JSON

TABLES: tuple[Table, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Table)
)

NUMBER_SIZE = 8


def number_key(number: int) -> bytes:
    """Eight bytes that sort as the number does."""
    return number.to_bytes(NUMBER_SIZE, "big")


def number_of(key: bytes) -> int:
    """The number at the beginning of a key."""
    return int.from_bytes(key[:NUMBER_SIZE], "big")


def digest_key_size(algorithm_byte: int) -> int:
    """Length in bytes of a digest key that starts with this algorithm byte (1 sha256, 2 sha512)."""
    return 1 + (32 if algorithm_byte == 1 else 64)
