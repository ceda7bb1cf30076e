"""Repository names and tags. They are parsed once, where a request enters, and trusted afterwards.

The grammars are those of the OCI distribution specification ("Pulling manifests"). Both values wrap
a plain text and sort by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dtrfast.errors import NameInvalid, TagInvalid

# Clients limit host and name together to 255 characters; the reference server limits the name.
ROOT = "_"  # in place of the namespace of a name of one part; no account has this name
NAME_LENGTH_MAX = 255
TAG_LENGTH_MAX = 128

# Possessive quantifiers prevent backtracking, so the time is linear.
_COMPONENT = r"[a-z0-9]++(?:(?:\.|__?|-++)[a-z0-9]++)*+"
_match_name = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*+").fullmatch
_match_tag = re.compile(rf"[a-zA-Z0-9_][a-zA-Z0-9._-]{{0,{TAG_LENGTH_MAX - 1}}}").fullmatch

# Messages repeat at most this much of a refused text.
_SHOWN_LENGTH_MAX = 80


@dataclass(frozen=True, slots=True, order=True)
class RepositoryName:
    """A path such as `team/app`, without a host."""

    text: str

    @staticmethod
    def parse(text: str) -> RepositoryName:
        """Parse a name. Raises `NameInvalid`."""
        if len(text) > NAME_LENGTH_MAX:
            raise NameInvalid(
                f"a repository name has at most {NAME_LENGTH_MAX} characters, this one {len(text)}"
            )
        if _match_name(text) is None:
            raise NameInvalid(
                f"{text!r} is not a repository name: use lower-case letters and digits, joined by"
                " one '.', one or two '_' or any number of '-', in parts separated by '/'"
            )
        return RepositoryName(text)

    @property
    def owner(self) -> str:
        """The name of the account that owns the repository, if such an account exists."""
        return self.text.partition("/")[0]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """A name for a manifest. Case matters."""

    text: str

    @staticmethod
    def parse(text: str) -> Tag:
        """Parse a tag. Raises `TagInvalid`."""
        if _match_tag(text) is None:
            raise TagInvalid(
                f"{text[:_SHOWN_LENGTH_MAX]!r} is not a tag: use 1 to {TAG_LENGTH_MAX} letters,"
                " digits, '_', '.' or '-', and neither '.' nor '-' in front"
            )
        return Tag(text)

    def __str__(self) -> str:
        return self.text
