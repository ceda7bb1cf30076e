"""Passwords: hashes with argon2id, and the rules for a new password.

The parameters are the first that OWASP's password storage cheat sheet lists for argon2id: 19 MiB,
two passes, one lane. A verification takes about 20 ms of a core. Only a few run at a time, so that
clients that try passwords cannot use up the memory or the cores.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from dtrfast.errors import PasswordInvalid, ServerBusy
from dtrfast.identity.turnstile import Turnstile

T = TypeVar("T")

LENGTH_MIN = 8  # NIST SP 800-63B section 5.1.1.2
LENGTH_MAX = 256  # bounds the time of a hash; no password manager makes a longer password

_MEMORY_KIB = 19_456
_PASSES = 2
_LANES = 1

_RUNNING_MAX = 2
# With the running ones, less than half of a worker's threads. The rest is for other requests.
_WAITING_MAX = 16
_WAIT_SECONDS_MAX = 5.0

# The most used passwords of at least `LENGTH_MIN` characters, from published lists of leaks.
_COMMON_WORDS = """
    password passw0rd password1 password12 password123 p@ssw0rd p@ssword 12345678 123456789
    1234567890 123123123 87654321 987654321 qwertyui qwertyuiop qwerty123 qwerty12 1q2w3e4r
    1q2w3e4r5t 1qaz2wsx zaq12wsx asdfghjk asdfghjkl zxcvbnm1 iloveyou sunshine princess football
    baseball superman trustno1 welcome1 welcome123 letmein1 letmein123 changeme changeme1 admin123
    administrator abcd1234 abc12345 abcdefgh a1b2c3d4 computer internet whatever starwars docker123
    secret123 default1 master123 monkey123 dragon123 shadow123 michael1 jennifer computer1
"""
_COMMON = frozenset(_COMMON_WORDS.split())

_hasher = argon2.PasswordHasher(
    time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES, hash_len=32, salt_len=16
)
_turnstile = Turnstile(_RUNNING_MAX, _WAITING_MAX, _WAIT_SECONDS_MAX)
# The hash that is verified for a missing account, so that it takes as long as for an existing one.
_dummy_hash: list[str] = []


def check_new(password: str, name: str) -> str:
    """Return a new password for the account with this name. Raises `PasswordInvalid`."""
    if len(password) < LENGTH_MIN:
        raise PasswordInvalid(f"a password has at least {LENGTH_MIN} characters")
    if len(password) > LENGTH_MAX:
        raise PasswordInvalid(f"a password has at most {LENGTH_MAX} characters")
    if any(ord(character) < 32 or ord(character) == 127 for character in password):
        raise PasswordInvalid("a password has no control characters, such as a line break")
    plain = password.lower()
    if plain in _COMMON or len(set(plain)) < 3:
        raise PasswordInvalid("this password is too common: an attacker would try it first")
    if plain.strip("0123456789!") in (name, name[::-1]) or plain == name * (
        len(plain) // len(name)
    ):
        raise PasswordInvalid("a password is not the account's name")
    return password


def make_random() -> str:
    """Return a random password of 120 bits that is easy to copy."""
    return secrets.token_urlsafe(15)


def hash_password(password: str) -> str:
    """Return the hash to store. Raises `ServerBusy`."""
    return _one_of_few(lambda: _hasher.hash(password))


def verify(password_hash: str | None, password: str) -> bool:
    """Return True if the hash is that of the password. None, for no account, takes the same time.

    Raises `ServerBusy` if too many threads wait already.
    """
    if len(password) > LENGTH_MAX:
        return False
    if password_hash is None:
        if not _dummy_hash:
            _dummy_hash.append(_hasher.hash(secrets.token_urlsafe()))
        _matches(_dummy_hash[0], password)
        return False
    return _matches(password_hash, password)


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _one_of_few(lambda: _hasher.verify(password_hash, password))
    except (VerificationError, InvalidHashError):
        return False


def _one_of_few(work: Callable[[], T]) -> T:
    """Do the work as one of at most `_RUNNING_MAX` threads. Raises `ServerBusy`."""
    with _turnstile.passed() as is_inside:
        if not is_inside:
            raise ServerBusy("too many clients are signing in: try again in a moment")
        return work()
