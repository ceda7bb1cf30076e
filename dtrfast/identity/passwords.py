"""Passwords: argon2id, and what a new one must be.

Parameters are those that OWASP's password storage cheat sheet gives first for argon2id: 19 MiB, two
passes, one lane. One verification takes about 20 ms of a core here; how many run at once is
bounded, so that neither memory nor all cores go to whoever tries passwords.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from dtrfast.errors import Overloaded, PasswordInvalid
from dtrfast.identity.turnstile import Turnstile

T = TypeVar("T")

LENGTH_MIN = 8  # NIST SP 800-63B section 5.1.1.2
LENGTH_MAX = 256  # hashing is linear in it; no password manager makes more

_MEMORY_KIB = 19_456
_PASSES = 2
_LANES = 1

_RUNNING_MAX = 2
# With those that run less than half of the threads of a worker: others' requests have the rest.
_WAITING_MAX = 16
_WAIT_SECONDS_MAX = 5.0

# The most used of the passwords that are long enough, in every published list of leaks.
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
# What is verified for a name that nobody has, so that it takes as long as for anybody's.
_nobody: list[str] = []


def check_new(password: str, name: str) -> str:
    """A password for the account of this name. Raises `PasswordInvalid`."""
    if len(password) < LENGTH_MIN:
        raise PasswordInvalid(f"a password has at least {LENGTH_MIN} characters")
    if len(password) > LENGTH_MAX:
        raise PasswordInvalid(f"a password has at most {LENGTH_MAX} characters")
    if any(ord(character) < 32 or ord(character) == 127 for character in password):
        raise PasswordInvalid("a password has no control characters, such as a line's end")
    plain = password.lower()
    if plain in _COMMON or len(set(plain)) < 3:
        raise PasswordInvalid("this password is among the first that anybody would try")
    if plain.strip("0123456789!") in (name, name[::-1]) or plain == name * (
        len(plain) // len(name)
    ):
        raise PasswordInvalid("a password is not the account's name")
    return password


def make_random() -> str:
    """A password that nobody has to remember for long: 120 bits, easy to copy."""
    return secrets.token_urlsafe(15)


def hash_password(password: str) -> str:
    """The hash to keep. Raises `Overloaded`."""
    return _one_of_few(lambda: _hasher.hash(password))


def verify(password_hash: str | None, password: str) -> bool:
    """Whether the password is the one. Takes the same time when there is no hash at all.

    Raises `Overloaded` when too many are being verified already.
    """
    if len(password) > LENGTH_MAX:
        return False
    if password_hash is None:
        if not _nobody:
            _nobody.append(_hasher.hash(secrets.token_urlsafe()))
        _matches(_nobody[0], password)
        return False
    return _matches(password_hash, password)


def _matches(password_hash: str, password: str) -> bool:
    return _one_of_few(lambda: _verify(password_hash, password))


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _one_of_few(work: Callable[[], T]) -> T:
    with _turnstile.passed() as is_inside:
        if not is_inside:
            raise Overloaded("too many are signing in: try again in a moment")
        return work()
