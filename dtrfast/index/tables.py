"""All tables of the index and the layout of their keys. `docs/format.md` describes the values.

Local tables describe the bytes on this machine's disk; shared tables describe the content of the
registry. Numbers in keys are 8 bytes, big-endian, so that byte order is number order.
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
CHUNKS_UNREFERENCED = _local("chunks_unreferenced")  # time + chunk id: format 1.0 only, see upgrade
PACKS = _local("packs")  # pack number → Pack
PACKS_SPARSE = _local("packs_sparse")  # pack number → empty: packs worth compacting
FILES = _local("files")  # file id → kind + number: the files that the index owns
FILES_UNOWNED = _local("files_unowned")  # file id → kind: files not yet, or no longer, in FILES
CONTENTS_UNLINKED = _local("contents_unlinked")  # content number → time (a hint)
DAMAGES = _local("damages")  # kind + number → a known damage
COMMITS = _local("commits")  # upload id → a commit of which some slices are not written yet
UPLOADS_FINISHED = _local("uploads_finished")  # upload id → time + digest key + label
REPLAYS = _local("replays")  # content number → replay recipe of a converted content
REPLAY_SEGMENTS = _local("replay_segments")  # number of a plain recipe + offset → segment
REPLAY_CONTENTS = _local("replay_contents")  # number of a plain recipe → content number
REPLAYS_UNFINISHED = _local("replays_unfinished")  # number of a plain recipe → content number
LAYERS = _local("layers")  # content number → verdict of the gzip tier on a layer

# ---- shared --------------------------------------------------------------------------------
META = _shared("meta")  # counters
REPOSITORIES = _shared("repositories")  # name → repository record
REPOSITORY_NAMES = _shared("repository_names")  # repository id → name
CATALOG = _shared("catalog")  # name → empty: the repositories that are not empty
MANIFESTS = _shared("manifests")  # repository id + digest key → record and bytes
OUTLINES = _shared("outlines")  # MANIFESTS's key → outline of a large manifest
TAGS = _shared("tags")  # repository id + tag → tag record
MANIFEST_TAGS = _shared("manifest_tags")  # repository id + digest key + tag → empty
REFERRERS = _shared("referrers")  # repository id + subject key + referrer key → descriptor
LINKS = _shared("links")  # repository id + digest key → Link
HOLDERS = _shared("holders")  # digest key + repository id → empty: the inverse of LINKS
REFERENCES = _shared("references")  # repository id + blob digest key + manifest digest key → empty
REFERENCES_DELETED = _shared("references_deleted")  # REFERENCES of manifests in the trash
MANIFESTS_DELETED = _shared("manifests_deleted")  # repository id + digest key → deleted record
MANIFESTS_UNTAGGED = _shared("manifests_untagged")  # time + MANIFESTS's key → empty (a hint)
TAG_HISTORY = _shared("tag_history")  # repository id + tag + zero byte + sequence → earlier record
TRASH = _shared("trash")  # time + kind + key → empty: the content of the trash, oldest first
REPOSITORIES_TRASHED = _shared("repositories_trashed")  # repository id → deleted record
USAGES = _shared("usages")  # name of a repository or namespace → its measured size
LINKS_UNREFERENCED = _shared(
    "links_unreferenced"
)  # time + repository id + digest key → empty (a hint)
BLOBS_UNHELD = _shared("blobs_unheld")  # digest key → sequence of the change that unlinked it
CHANGES = _shared("changes")  # sequence → change not yet in the change log
JOBS = _shared("jobs")  # kind + name or number → requests, tasks and runs of the housekeeper
PULLS = _shared("pulls")  # repository id + kind + tag or digest key → time of the last pull
PUBLIC = _shared("public")  # name → empty: the repositories with public pull access
READMES = _shared("readmes")  # repository id → text
READMES_HTML = _shared("readmes_html")  # repository id → rendered HTML
READMES_WAITING = _shared("readmes_waiting")  # repository id → empty: rendering is due
REPOSITORIES_DELETED = _shared("repositories_deleted")  # repository id → time: rows to be removed

# Accounts, teams and tokens take their ids from one counter. Names are ASCII, so byte order is
# alphabetical order.
ACCOUNTS = _shared("accounts")  # account id → account record
ACCOUNT_NAMES = _shared("account_names")  # name → account id
DIRECTORY_IDS = _shared("directory_ids")  # stable id in the LDAP directory → account id
PASSWORDS = _shared("passwords")  # account id → hash of the password, and its time
TEAMS = _shared("teams")  # organization id + team name → team record
TEAM_NAMES = _shared("team_names")  # team id → organization id + team name
TEAM_MEMBERS = _shared("team_members")  # team id + user name → user id
MEMBERS = _shared("members")  # organization id + user name → user id + number of teams
USER_TEAMS = _shared("user_teams")  # user id + organization id + team id → flags
GRANTS = _shared("grants")  # place (repository or namespace) + grantee id → level
GRANTEES = _shared("grantees")  # grantee id + place → level: the inverse of GRANTS
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
    """Return the number as 8 bytes that sort as the numbers do."""
    return number.to_bytes(NUMBER_SIZE, "big")


def number_of(key: bytes) -> int:
    """Return the number in the first 8 bytes of a key."""
    return int.from_bytes(key[:NUMBER_SIZE], "big")


def digest_key_size(algorithm_byte: int) -> int:
    """Return the length in bytes of a digest key, by its first byte (1 sha256, 2 sha512)."""
    return 1 + (32 if algorithm_byte == 1 else 64)
