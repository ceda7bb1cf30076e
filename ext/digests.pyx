"""SHA-256 and SHA-512 with states that can be saved and continued in another process."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from sha256 cimport (
    DTR_SHA256_ARMV8,
    DTR_SHA256_PORTABLE,
    DTR_SHA256_SHANI,
    dtr_sha256,
    dtr_sha256_blocks,
    dtr_sha256_digest,
    dtr_sha256_init,
    dtr_sha256_kernel,
    dtr_sha256_update,
)
from sha512 cimport dtr_sha512, dtr_sha512_digest, dtr_sha512_init, dtr_sha512_update

# The best kernel first.
cdef tuple SHA256_KERNEL_IDS = (
    ("shani", DTR_SHA256_SHANI),
    ("armv8", DTR_SHA256_ARMV8),
    ("portable", DTR_SHA256_PORTABLE),
)
# Selected once, at import. CPUID traps to the hypervisor in a virtual machine: calling it for each
# hash took 14 us there, twice as long as hashing 16 KiB.
cdef dtr_sha256_blocks *SHA256_BLOCKS[3]
cdef int _kernel_id
for _kernel_id in range(3):
    SHA256_BLOCKS[_kernel_id] = dtr_sha256_kernel(_kernel_id)
cdef tuple SHA256_KERNELS = tuple(
    [(_name, _kernel_id) for _name, _kernel_id in SHA256_KERNEL_IDS if SHA256_BLOCKS[_kernel_id]]
)

# docs/kernels.md has the layouts byte by byte.
cdef enum:
    STATE_HEAD_SIZE = 16
    SHA256_STATE_SIZE = 112
    SHA512_STATE_SIZE = 208
cdef bytes SHA256_STATE_MAGIC = b"sha256\x00\x01"
cdef bytes SHA512_STATE_MAGIC = b"sha512\x00\x01"


def sha256_kernels() -> tuple:
    """Return the names of the SHA-256 kernels that this CPU can run, the best first."""
    return tuple([name for name, _ in SHA256_KERNELS])


def sha512_kernels() -> tuple:
    """Return the names of the SHA-512 kernels that this CPU can run, the best first."""
    return ("portable",)


cdef int sha256_kernel_id(kernel) except -1:
    for name, kernel_id in SHA256_KERNELS:
        if kernel is None or kernel == name:
            return kernel_id
    raise ValueError(f"no SHA-256 kernel {kernel!r} here, only {', '.join(sha256_kernels())}")


cdef uint64_t load_le(const uint8_t *data, int size) noexcept:
    cdef uint64_t value = 0
    cdef int i
    for i in range(size):
        value |= <uint64_t>data[i] << (8 * i)
    return value


cdef void store_le(uint8_t *into, uint64_t value, int size) noexcept:
    cdef int i
    for i in range(size):
        into[i] = <uint8_t>(value >> (8 * i))


cdef int check_state(bytes state, bytes magic, Py_ssize_t state_size, int block_size) except -1:
    """Raise ValueError if a saved state has an impossible size, kind, length or partial block."""
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(state)
    cdef Py_ssize_t used, i
    if len(state) != state_size:
        raise ValueError(f"digest state of {len(state)} bytes, not {state_size}")
    if state[:8] != magic:
        raise ValueError("digest state of another kind or version")
    if load_le(data + 8, 8) >> 61:
        raise ValueError("digest state with an impossible size")
    used = load_le(data + 8, 8) % block_size
    for i in range(state_size - block_size + used, state_size):
        if data[i]:
            raise ValueError("digest state with bytes behind its partial block")
    return 0


@cython.final
cdef class Sha256:
    """The SHA-256 (FIPS 180-4) of all bytes passed to update().

    `size` is the number of these bytes. `kernel` is one of sha256_kernels(); None means the best
    one. Other names raise ValueError. For one thread at a time.
    """

    cdef dtr_sha256 hash
    cdef dtr_sha256_blocks *blocks
    cdef int kernel_id
    cdef bint busy

    def __cinit__(self, kernel=None):
        self.kernel_id = sha256_kernel_id(kernel)
        self.blocks = SHA256_BLOCKS[self.kernel_id]
        dtr_sha256_init(&self.hash)

    @property
    def size(self) -> int:
        return self.hash.size

    @property
    def kernel(self) -> str:
        return next(name for name, kernel in SHA256_KERNELS if kernel == self.kernel_id)

    def update(self, data) -> None:
        """Hash the bytes of a contiguous buffer. Releases the GIL for 64 KiB and more.

        Raises OverflowError past 2^61 - 1 bytes in all; then nothing was hashed.
        """
        cdef Py_buffer view
        claim(&self.busy)
        try:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            try:
                if (self.hash.size + <uint64_t>view.len) >> 61:
                    raise OverflowError("more than 2^61 - 1 bytes to hash")
                if view.len >= GIL_RELEASE_SIZE:
                    with nogil:
                        dtr_sha256_update(
                            &self.hash, self.blocks, <const uint8_t *>view.buf, view.len
                        )
                else:
                    dtr_sha256_update(&self.hash, self.blocks, <const uint8_t *>view.buf, view.len)
            finally:
                PyBuffer_Release(&view)
        finally:
            self.busy = False

    def digest(self) -> bytes:
        """Return the 32 bytes of the digest so far. More bytes may be hashed afterwards."""
        cdef uint8_t[32] digest
        claim(&self.busy)
        dtr_sha256_digest(&self.hash, self.blocks, digest)
        self.busy = False
        return (<const char *>digest)[:32]

    def hexdigest(self) -> str:
        """Return digest() as 64 lower-case hexadecimal digits."""
        return self.digest().hex()

    def copy(self) -> Sha256:
        """Return an independent hash in the same state."""
        cdef Sha256 other = Sha256.__new__(Sha256, self.kernel)
        claim(&self.busy)
        other.hash = self.hash
        self.busy = False
        return other

    def save(self) -> bytes:
        """Return the state as 112 bytes, including the partial block. The layout has a version."""
        cdef uint8_t[SHA256_STATE_SIZE] state
        cdef int i
        claim(&self.busy)
        memset(state, 0, SHA256_STATE_SIZE)
        memcpy(state, PyBytes_AS_STRING(SHA256_STATE_MAGIC), 8)
        store_le(state + 8, self.hash.size, 8)
        for i in range(8):
            store_le(state + STATE_HEAD_SIZE + 4 * i, self.hash.words[i], 4)
        memcpy(state + 48, self.hash.block, self.hash.size % 64)
        self.busy = False
        return (<const char *>state)[:SHA256_STATE_SIZE]

    @staticmethod
    def restore(bytes state not None) -> Sha256:
        """Return a hash that continues from save(), with the best kernel of this CPU.

        Raises ValueError if save() cannot have made `state`. The words have no checksum: damage
        shows only as a digest that does not match.
        """
        cdef Sha256 restored = Sha256.__new__(Sha256)
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(state)
        cdef int i
        check_state(state, SHA256_STATE_MAGIC, SHA256_STATE_SIZE, 64)
        restored.hash.size = load_le(data + 8, 8)
        for i in range(8):
            restored.hash.words[i] = <uint32_t>load_le(data + STATE_HEAD_SIZE + 4 * i, 4)
        memcpy(restored.hash.block, data + 48, 64)
        return restored


@cython.final
cdef class Sha512:
    """The SHA-512 (FIPS 180-4) of all bytes passed to update().

    `size` is the number of these bytes. `kernel` is one of sha512_kernels(); None means the best
    one. Other names raise ValueError. For one thread at a time.
    """

    cdef dtr_sha512 hash
    cdef bint busy

    def __cinit__(self, kernel=None):
        if kernel is not None and kernel not in sha512_kernels():
            raise ValueError(
                f"no SHA-512 kernel {kernel!r} here, only {', '.join(sha512_kernels())}"
            )
        dtr_sha512_init(&self.hash)

    @property
    def size(self) -> int:
        return self.hash.size

    @property
    def kernel(self) -> str:
        return "portable"

    def update(self, data) -> None:
        """Hash the bytes of a contiguous buffer. Releases the GIL for 64 KiB and more.

        Raises OverflowError past 2^61 - 1 bytes in all; then nothing was hashed.
        """
        cdef Py_buffer view
        claim(&self.busy)
        try:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
            try:
                if (self.hash.size + <uint64_t>view.len) >> 61:
                    raise OverflowError("more than 2^61 - 1 bytes to hash")
                if view.len >= GIL_RELEASE_SIZE:
                    with nogil:
                        dtr_sha512_update(&self.hash, <const uint8_t *>view.buf, view.len)
                else:
                    dtr_sha512_update(&self.hash, <const uint8_t *>view.buf, view.len)
            finally:
                PyBuffer_Release(&view)
        finally:
            self.busy = False

    def digest(self) -> bytes:
        """Return the 64 bytes of the digest so far. More bytes may be hashed afterwards."""
        cdef uint8_t[64] digest
        claim(&self.busy)
        dtr_sha512_digest(&self.hash, digest)
        self.busy = False
        return (<const char *>digest)[:64]

    def hexdigest(self) -> str:
        """Return digest() as 128 lower-case hexadecimal digits."""
        return self.digest().hex()

    def copy(self) -> Sha512:
        """Return an independent hash in the same state."""
        cdef Sha512 other = Sha512.__new__(Sha512)
        claim(&self.busy)
        other.hash = self.hash
        self.busy = False
        return other

    def save(self) -> bytes:
        """Return the state as 208 bytes, including the partial block. The layout has a version."""
        cdef uint8_t[SHA512_STATE_SIZE] state
        cdef int i
        claim(&self.busy)
        memset(state, 0, SHA512_STATE_SIZE)
        memcpy(state, PyBytes_AS_STRING(SHA512_STATE_MAGIC), 8)
        store_le(state + 8, self.hash.size, 8)
        for i in range(8):
            store_le(state + STATE_HEAD_SIZE + 8 * i, self.hash.words[i], 8)
        memcpy(state + 80, self.hash.block, self.hash.size % 128)
        self.busy = False
        return (<const char *>state)[:SHA512_STATE_SIZE]

    @staticmethod
    def restore(bytes state not None) -> Sha512:
        """Return a hash that continues from save().

        Raises ValueError if save() cannot have made `state`. The words have no checksum: damage
        shows only as a digest that does not match.
        """
        cdef Sha512 restored = Sha512.__new__(Sha512)
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(state)
        cdef int i
        check_state(state, SHA512_STATE_MAGIC, SHA512_STATE_SIZE, 128)
        restored.hash.size = load_le(data + 8, 8)
        for i in range(8):
            restored.hash.words[i] = load_le(data + STATE_HEAD_SIZE + 8 * i, 8)
        memcpy(restored.hash.block, data + 80, 128)
        return restored
