/*
 * Makes calls on files below one directory fail, like a disk that is full or broken.
 *
 * Preloaded with LD_PRELOAD. Its environment variables:
 * - FAULT_ROOT: the directory.
 * - FAULT_CALL: the kind of call: write, read, sync, write-back (of a part of a file), create or
 *   unlink.
 * - FAULT_ERROR: the errno, or 0 for a write or read that does half of its work.
 * - FAULT_SKIP: the number of calls of the kind that succeed first.
 * - FAULT_COUNT: the number of calls that fail then, -1 for all.
 * - FAULT_ONLY, FAULT_NOT: a text that the path must contain, or must not contain; may be empty.
 *
 * Calls are counted over all threads. Not covered: mmap, io_uring, raw system calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long seen;

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value == NULL ? "" : value;
}

static bool path_matters(const char *path)
{
    const char *only = setting("FAULT_ONLY"), *not_this = setting("FAULT_NOT");
    const char *root = setting("FAULT_ROOT");
    if (*root == 0 || strncmp(path, root, strlen(root)) != 0)
        return false;
    if (*only != 0 && strstr(path, only) == NULL)
        return false;
    return *not_this == 0 || strstr(path, not_this) == NULL;
}

/* Counts a call of the kind; returns true if it has to fail. */
static bool is_due(const char *call, const char *path)
{
    if (strcmp(setting("FAULT_CALL"), call) != 0 || !path_matters(path))
        return false;
    long skip = atol(setting("FAULT_SKIP")), count = atol(setting("FAULT_COUNT"));
    long number = atomic_fetch_add(&seen, 1);
    return number >= skip && (count < 0 || number < skip + count);
}

static bool is_due_fd(const char *call, int fd)
{
    char link[64], path[4096];
    if (strcmp(setting("FAULT_CALL"), call) != 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (size < 0)
        return false;
    path[size] = 0;
    return is_due(call, path);
}

static int error_number(void)
{
    return atoi(setting("FAULT_ERROR"));
}

/* Fails, or moves the first half of the first buffer, at least one byte. */
static ssize_t move_vector(const char *call, long number, int fd, const struct iovec *iov,
                           int count, off_t offset, int flags)
{
    if (is_due_fd(call, fd)) {
        if (error_number() != 0) {
            errno = error_number();
            return -1;
        }
        struct iovec half = {.iov_base = iov[0].iov_base, .iov_len = (iov[0].iov_len + 1) / 2};
        return syscall(number, fd, &half, 1L, offset, 0L, flags);
    }
    return syscall(number, fd, iov, (long)count, offset, 0L, flags);
}

static ssize_t write_vector(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return move_vector("write", SYS_pwritev2, fd, iov, count, offset, flags);
}

static ssize_t read_vector(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return move_vector("read", SYS_preadv2, fd, iov, count, offset, flags);
}

ssize_t write(int fd, const void *data, size_t size)
{
    struct iovec iov = {(void *)(uintptr_t)data, size};
    return write_vector(fd, &iov, 1, -1, 0);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    struct iovec iov = {(void *)(uintptr_t)data, size};
    return write_vector(fd, &iov, 1, offset, 0);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    return write_vector(fd, iov, count, -1, 0);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    return write_vector(fd, iov, count, offset, 0);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t offset)
{
    return write_vector(fd, iov, count, offset, 0);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return write_vector(fd, iov, count, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return write_vector(fd, iov, count, offset, flags);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    struct iovec iov = {data, size};
    return read_vector(fd, &iov, 1, offset, 0);
}

ssize_t pread64(int fd, void *data, size_t size, off_t offset)
{
    return pread(fd, data, size, offset);
}

ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
    return read_vector(fd, iov, count, offset, 0);
}

ssize_t preadv64(int fd, const struct iovec *iov, int count, off_t offset)
{
    return read_vector(fd, iov, count, offset, 0);
}

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return read_vector(fd, iov, count, offset, flags);
}

ssize_t preadv64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return read_vector(fd, iov, count, offset, flags);
}

static int sync_file(long number, int fd)
{
    if (is_due_fd("sync", fd)) {
        errno = error_number();
        return -1;
    }
    return (int)syscall(number, fd);
}

int fsync(int fd)
{
    return sync_file(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_file(SYS_fdatasync, fd);
}

int sync_file_range(int fd, off64_t offset, off64_t size, unsigned flags)
{
    if (is_due_fd("write-back", fd)) {
        errno = error_number();
        return -1;
    }
    return (int)syscall(SYS_sync_file_range, fd, offset, size, flags);
}

static int open_file(int directory, const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT) && is_due("create", path)) {
        errno = error_number();
        return -1;
    }
    return (int)syscall(SYS_openat, directory, path, flags, mode);
}

static mode_t mode_of(int flags, va_list list)
{
    return (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(list, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode_t mode = mode_of(flags, list);                                                        \
        va_end(list);                                                                              \
        return open_file(AT_FDCWD, path, flags, mode);                                             \
    }

OPEN(open)
OPEN(open64)

int unlink(const char *path)
{
    if (is_due("unlink", path)) {
        errno = error_number();
        return -1;
    }
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
