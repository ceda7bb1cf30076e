"""SHA-256 and SHA-512: test vectors, kernels, and saved states."""

import copy
import hashlib
import pickle
import random
from typing import Any

import pytest

from dtrfast import _core
from tests.ext import twins

SEED = 20_451
KERNELS = [
    *((_core.Sha256, name) for name in _core.sha256_kernels()),
    *((_core.Sha512, name) for name in _core.sha512_kernels()),
]
BLOCK_SIZES = {_core.Sha256: 64, _core.Sha512: 128}
STATE_SIZES = {_core.Sha256: 112, _core.Sha512: 208}
REFERENCES: dict[Any, Any] = {_core.Sha256: hashlib.sha256, _core.Sha512: hashlib.sha512}
TWINS = {_core.Sha256: twins.SHA256, _core.Sha512: twins.SHA512}

both = pytest.mark.parametrize("kind", [_core.Sha256, _core.Sha512])
each_kernel = pytest.mark.parametrize(("kind", "kernel"), KERNELS)

# FIPS 180-2 appendices B and C, and the NIST examples for SHA-2.
VECTORS = {
    _core.Sha256: [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (b"a" * 10**6, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ],
    _core.Sha512: [
        (
            b"",
            "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
            "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        ),
        (
            b"abc",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        (
            b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
            b"hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
            "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018"
            "501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
        ),
        (
            b"a" * 10**6,
            "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb"
            "de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b",
        ),
    ],
}

# The first round of the CAVS Monte Carlo files (SHAVS section 6.4): seed, digest.
MONTE_CARLO = {
    _core.Sha256: (
        "6d1e72ad03ddeb5de891e572e2396f8da015d899ef0e79503152d6010a3fe691",
        "e93c330ae5447738c8aa85d71a6c80f2a58381d05872d26bdd39f1fcd4f2b788",
    ),
    _core.Sha512: (
        "5c337de5caf35d18ed90b5cddfce001ca1b8ee8602f367e7c24ccca6f893802f"
        "b1aca7a3dae32dcd60800a59959bc540d63237876b799229ae71a2526fbc52cd",
        "ada69add0071b794463c8806a177326735fa624b68ab7bcab2388b9276c036e4"
        "eaaff87333e83c81c0bca0359d4aeebcbcfd314c0630e0c2af68c1fb19cc470e",
    ),
}


def random_bytes(size: int) -> bytes:
    return random.Random(SEED + size).randbytes(size)


@each_kernel
def test_known_vectors(kind: Any, kernel: str) -> None:
    for message, expected in VECTORS[kind]:
        digest = kind(kernel)
        digest.update(message)
        assert digest.hexdigest() == expected
        assert digest.digest() == bytes.fromhex(expected)


@each_kernel
def test_monte_carlo(kind: Any, kernel: str) -> None:
    seed, expected = (bytes.fromhex(text) for text in MONTE_CARLO[kind])
    last_three = [seed, seed, seed]
    for _ in range(1000):
        digest = kind(kernel)
        digest.update(b"".join(last_three))
        last_three = [*last_three[1:], digest.digest()]
    assert last_three[-1] == expected


@each_kernel
def test_every_length_and_any_split_agrees_with_hashlib(kind: Any, kernel: str) -> None:
    generator = random.Random(SEED)
    for size in range(301):
        message = random_bytes(size)
        digest = kind(kernel)
        position = 0
        while position < size:
            step = generator.randint(0, 150)
            digest.update(message[position : position + step])
            position += step
        assert digest.size == size
        assert digest.digest() == REFERENCES[kind](message).digest(), (SEED, size)


@each_kernel
def test_large_buffers_agree_with_hashlib(kind: Any, kernel: str) -> None:
    for size in (65_542, 65_543, 65_544, 100_003, 1 << 20):
        message = random_bytes(size)
        digest = kind(kernel)
        digest.update(message[:7])
        digest.update(message[7:])
        assert digest.digest() == REFERENCES[kind](message).digest(), (SEED, size)


@both
def test_agrees_with_the_formulas(kind: Any) -> None:
    for size in (0, 1, 55, 56, 64, 111, 112, 128, 200):
        message = random_bytes(size)
        digest = kind()
        digest.update(message)
        assert digest.digest() == TWINS[kind].digest(message), (SEED, size)


@each_kernel
def test_a_digest_does_not_end_the_hash(kind: Any, kernel: str) -> None:
    digest = kind(kernel)
    digest.update(b"one")
    assert digest.digest() == digest.digest() == REFERENCES[kind](b"one").digest()
    digest.update(b"two")
    assert digest.digest() == REFERENCES[kind](b"onetwo").digest()


@each_kernel
def test_a_copy_is_independent(kind: Any, kernel: str) -> None:
    digest = kind(kernel)
    digest.update(b"one")
    other = digest.copy()
    other.update(b"two")
    assert (other.kernel, other.size, digest.size) == (kernel, 6, 3)
    assert digest.digest() == REFERENCES[kind](b"one").digest()
    assert other.digest() == REFERENCES[kind](b"onetwo").digest()


@each_kernel
def test_save_and_restore_at_every_block_offset(kind: Any, kernel: str) -> None:
    message = random_bytes(3 * BLOCK_SIZES[kind])
    expected = REFERENCES[kind](message).digest()
    for size in range(2 * BLOCK_SIZES[kind] + 1):
        digest = kind(kernel)
        digest.update(message[:size])
        state = digest.save()
        restored = kind.restore(state)
        assert (len(state), restored.size) == (STATE_SIZES[kind], size)
        assert restored.save() == state
        restored.update(message[size:])
        digest.update(message[size:])
        assert restored.digest() == digest.digest() == expected


def test_kernels_save_the_same_state() -> None:
    message = random_bytes(100_001)
    states = set()
    for kernel in _core.sha256_kernels():
        digest = _core.Sha256(kernel)
        digest.update(message)
        states.add(digest.save())
    assert len(states) == 1


def test_saved_layouts_are_unchanged() -> None:
    sha256, sha512 = _core.Sha256(), _core.Sha512()
    sha256.update(b"a" * 130)
    sha512.update(b"a" * 130)
    assert hashlib.sha256(sha256.save()).hexdigest() == GOLDEN_STATES[0]
    assert hashlib.sha256(sha512.save()).hexdigest() == GOLDEN_STATES[1]
    assert sha256.save().startswith(b"sha256\x00\x01" + (130).to_bytes(8, "little"))
    assert sha256.save()[48:] == b"aa" + bytes(62)
    assert sha512.save().startswith(b"sha512\x00\x01" + (130).to_bytes(8, "little"))
    assert sha512.save()[80:] == b"aa" + bytes(126)


GOLDEN_STATES = (
    "43b5a0fb01d1eb6edeede7d0660d7f19feb9e66e9ade11a365160655cb79c569",
    "ecfd9cb94ff678e4d01b8fe4014062fd4471f7497a0def53ea022fa088e64dcb",
)


@both
def test_malformed_states_are_refused(kind: Any) -> None:
    digest = kind()
    digest.update(b"abc")
    state = digest.save()
    other = (_core.Sha512 if kind is _core.Sha256 else _core.Sha256)()
    malformed = [
        b"",
        state[:-1],
        state + b"\x00",
        b"x" + state[1:],
        state[:7] + b"\x02" + state[8:],
        state[:8] + b"\xff" * 8 + state[16:],
        state[:-1] + b"\x01",
        state[:8] + (2).to_bytes(8, "little") + state[16:],
        other.save(),
    ]
    for bad in malformed:
        with pytest.raises(ValueError, match="digest state"):
            kind.restore(bad)
    with pytest.raises(TypeError):
        kind.restore(None)
    with pytest.raises(TypeError):
        kind.restore(bytearray(state))


@both
def test_a_kernel_that_is_not_there_is_an_error(kind: Any) -> None:
    for name in ("armv8", "shani", "avx9", ""):
        if name not in _core.sha256_kernels() or kind is _core.Sha512:
            with pytest.raises(ValueError, match=r"no SHA-\d+ kernel"):
                kind(name)


def test_kernels_are_listed_best_first() -> None:
    assert _core.sha256_kernels()[-1] == "portable"
    assert _core.Sha256().kernel == _core.sha256_kernels()[0]
    assert _core.Sha512().kernel == _core.sha512_kernels()[0] == "portable"


@both
def test_any_contiguous_buffer_is_taken(kind: Any) -> None:
    message = random_bytes(64)
    views: list[Any] = [bytearray(message), memoryview(message), memoryview(message).cast("I")]
    for view in views:
        digest = kind()
        digest.update(view)
        assert digest.digest() == REFERENCES[kind](message).digest()
    digest = kind()
    with pytest.raises(BufferError):
        digest.update(memoryview(message)[::2])
    with pytest.raises(TypeError):
        digest.update("text")
    digest.update(b"still of use")


@both
def test_too_many_bytes_are_refused(kind: Any) -> None:
    state = kind().save()
    size = (1 << 61) - BLOCK_SIZES[kind]
    digest = kind.restore(state[:8] + size.to_bytes(8, "little") + state[16:])
    with pytest.raises(OverflowError):
        digest.update(bytes(BLOCK_SIZES[kind]))
    assert digest.size == size


@both
def test_pickling_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(kind())
    with pytest.raises(TypeError):
        copy.copy(kind())
