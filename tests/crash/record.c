/*
 * Records every change that a program makes to the file system below one directory.
 *
 * Preloaded with LD_PRELOAD. POWERCUT_TRACE names the trace file, POWERCUT_ROOT the directory,
 * which must exist and be empty when the first traced program starts. A write to the path
 * "$POWERCUT_TRACE.mark" stores nothing and becomes a mark in the trace. powercut.py replays the
 * trace; it owns the meaning of each record.
 *
 * The library keeps no state about descriptors. It identifies files by inode number, from
 * /proc/self/fd and fstat, so dup, fork, exec and descriptor passing need no care. The kernel
 * reuses inode numbers after an unlink, so a record of creation starts a new file.
 *
 * An operation and its record happen under one lock, held across threads and processes (flock on a
 * fresh open file description), so the trace is in the order in which the kernel saw the
 * operations. A sync has two records around the call and runs without the lock: bytes that are
 * written while it runs need not be durable.
 *
 * Not recorded: writes through mmap, io_uring, raw syscalls, stdio. A test replays a whole trace
 * and compares the result with the directory, which shows that nothing was missed. Operations that
 * are not modeled abort the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "trace.h"

_Static_assert(sizeof(long) == 8, "offsets are passed to the kernel in one register");

enum { COPY_SIZE = 1 << 20 };

/* ---- bytes ---- */

static off_t write_offset(int fd, size_t written, off_t offset, bool append)
{
    struct stat status;
    if (append)
        return fstat(fd, &status) == 0 ? status.st_size - (off_t)written : -1;
    return offset >= 0 ? offset : lseek(fd, 0, SEEK_CUR) - (off_t)written;
}

/* An offset of -1 means the descriptor's own position, as in pwritev2. */
static ssize_t write_traced(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    int trace = trace_lock();
    ssize_t written = syscall(SYS_pwritev2, fd, iov, (long)count, offset, 0L, flags);
    if (written > 0) {
        int mode = fcntl(fd, F_GETFL);
        bool durable = (mode & O_DSYNC) || (flags & (RWF_DSYNC | RWF_SYNC));
        bool append = (mode & O_APPEND) || (flags & RWF_APPEND);
        struct record record = {
            .kind = durable ? KIND_WRITE_DURABLE : KIND_WRITE,
            .inode = fd_inode(fd),
            .offset = write_offset(fd, (size_t)written, offset, append),
        };
        trace_record_iov(trace, record, iov, (size_t)written);
    }
    trace_unlock(trace);
    return written;
}

static void mark_record(const void *data, size_t size)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    int trace = trace_lock();
    trace_record_iov(trace, (struct record){.kind = KIND_MARK}, &iov, size);
    trace_unlock(trace);
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (fd_is_mark(fd)) {
        mark_record(data, size);
        return (ssize_t)size;
    }
    if (!fd_traced(fd))
        return syscall(SYS_write, fd, data, size);
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    return write_traced(fd, &iov, 1, -1, 0);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (offset < 0 || !fd_traced(fd))
        return syscall(SYS_pwrite64, fd, data, size, offset);
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    return write_traced(fd, &iov, 1, offset, 0);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    return pwrite(fd, data, size, offset);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    if (!fd_traced(fd))
        return syscall(SYS_writev, fd, iov, (long)count);
    return write_traced(fd, iov, count, -1, 0);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (!fd_traced(fd))
        return syscall(SYS_pwritev2, fd, iov, (long)count, offset, 0L, flags);
    return write_traced(fd, iov, count, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return pwritev2(fd, iov, count, offset, flags);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    if (offset < 0 || !fd_traced(fd))
        return syscall(SYS_pwritev, fd, iov, (long)count, offset, 0L);
    return write_traced(fd, iov, count, offset, 0);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t offset)
{
    return pwritev(fd, iov, count, offset);
}

/* Reads the bytes back that the kernel moved, since the descriptor may be write-only. */
static void copied_record(int trace, int fd, off_t offset, ssize_t size)
{
    char link[32];
    int error = errno;
    char *data = malloc(COPY_SIZE);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    int reader = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
    if (!data || reader < 0)
        fail("cannot read back what was copied");
    while (size > 0) {
        ssize_t part = pread(reader, data, size < COPY_SIZE ? (size_t)size : COPY_SIZE, offset);
        if (part <= 0)
            fail("cannot read back what was copied");
        struct iovec iov = {.iov_base = data, .iov_len = (size_t)part};
        struct record record = {.kind = KIND_WRITE, .inode = fd_inode(fd), .offset = offset};
        trace_record_iov(trace, record, &iov, (size_t)part);
        offset += part;
        size -= part;
    }
    close(reader);
    free(data);
    errno = error;
}

ssize_t sendfile(int to, int from, off_t *offset, size_t size)
{
    if (!fd_traced(to))
        return syscall(SYS_sendfile, to, from, offset, size);
    int trace = trace_lock();
    ssize_t done = syscall(SYS_sendfile, to, from, offset, size);
    if (done > 0)
        copied_record(trace, to, write_offset(to, (size_t)done, -1, false), done);
    trace_unlock(trace);
    return done;
}

ssize_t sendfile64(int to, int from, off_t *offset, size_t size)
{
    return sendfile(to, from, offset, size);
}

ssize_t copy_file_range(int from, off_t *from_offset, int to, off_t *to_offset, size_t size,
                        unsigned flags)
{
    if (!fd_traced(to))
        return syscall(SYS_copy_file_range, from, from_offset, to, to_offset, size, flags);
    int trace = trace_lock();
    off_t offset = to_offset ? *to_offset : -1;
    ssize_t done = syscall(SYS_copy_file_range, from, from_offset, to, to_offset, size, flags);
    if (done > 0)
        copied_record(trace, to, write_offset(to, (size_t)done, offset, false), done);
    trace_unlock(trace);
    return done;
}

/* ---- sizes ---- */

int ftruncate(int fd, off_t size)
{
    if (!fd_traced(fd))
        return (int)syscall(SYS_ftruncate, fd, size);
    int trace = trace_lock();
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (result == 0) {
        struct record record = {.kind = KIND_SIZE, .inode = fd_inode(fd), .offset = size};
        trace_record(trace, record, "", "");
    }
    trace_unlock(trace);
    return result;
}

int ftruncate64(int fd, off_t size)
{
    return ftruncate(fd, size);
}

int truncate(const char *path, off_t size)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int result = ftruncate(fd, size);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

int truncate64(const char *path, off_t size)
{
    return truncate(path, size);
}

static struct record allocation_record(int fd, int mode, off_t offset, off_t size)
{
    struct stat status;
    struct record record = {.inode = fd_inode(fd)};
    if (mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)) {
        record.kind = KIND_ZERO;
        record.offset = offset;
        record.parent_to = (uint64_t)size;
    } else if (mode == 0 && fstat(fd, &status) == 0 && offset + size > status.st_size) {
        record.kind = KIND_SIZE;
        record.offset = offset + size;
    } else if (mode != 0 && mode != FALLOC_FL_KEEP_SIZE) {
        fail("this fallocate mode is not modeled");
    }
    return record;
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    if (!fd_traced(fd))
        return (int)syscall(SYS_fallocate, fd, (long)mode, offset, size);
    int trace = trace_lock();
    struct record record = allocation_record(fd, mode, offset, size);
    int result = (int)syscall(SYS_fallocate, fd, (long)mode, offset, size);
    if (result == 0 && record.kind != 0)
        trace_record(trace, record, "", "");
    trace_unlock(trace);
    return result;
}

int fallocate64(int fd, int mode, off_t offset, off_t size)
{
    return fallocate(fd, mode, offset, size);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    int error = errno;
    int result = fallocate(fd, 0, offset, size) == 0 ? 0 : errno;
    errno = error;
    return result;
}

int posix_fallocate64(int fd, off_t offset, off_t size)
{
    return posix_fallocate(fd, offset, size);
}

/* ---- names ---- */

static int open_unnamed(int directory, const char *path, int flags, mode_t mode)
{
    int trace = trace_lock();
    int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
    if (fd >= 0 && fd_traced(fd))
        trace_record(trace, (struct record){.kind = KIND_FILE, .inode = fd_inode(fd)}, "", "");
    trace_unlock(trace);
    return fd;
}

static int open_traced(int directory, const char *path, int flags, mode_t mode)
{
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return open_unnamed(directory, path, flags, mode);
    struct place place = {0};
    if (flags & (O_CREAT | O_TRUNC))
        place = place_resolve(directory, path);
    if (!place.traced)
        return (int)syscall(SYS_openat, directory, path, flags, mode);
    int trace = trace_lock();
    bool existed = path_inode(directory, path) != 0;
    int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
    if (fd >= 0 && (!existed || (flags & O_TRUNC))) {
        struct record record = {.kind = existed ? KIND_SIZE : KIND_FILE, .inode = fd_inode(fd)};
        record.parent = place.parent;
        trace_record(trace, record, place.name, "");
    }
    trace_unlock(trace);
    return fd;
}

static mode_t open_mode(int flags, va_list arguments)
{
    bool given = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    return given ? va_arg(arguments, mode_t) : 0;
}

int openat(int directory, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = open_mode(flags, arguments);
    va_end(arguments);
    return open_traced(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = open_mode(flags, arguments);
    va_end(arguments);
    return open_traced(directory, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = open_mode(flags, arguments);
    va_end(arguments);
    return open_traced(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = open_mode(flags, arguments);
    va_end(arguments);
    return open_traced(AT_FDCWD, path, flags, mode);
}

/* The fortified forms, which never create a file. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int directory, const char *path, int flags);
int __openat64_2(int directory, const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return open_traced(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return open_traced(AT_FDCWD, path, flags, 0);
}

int __openat_2(int directory, const char *path, int flags)
{
    return open_traced(directory, path, flags, 0);
}

int __openat64_2(int directory, const char *path, int flags)
{
    return open_traced(directory, path, flags, 0);
}

int creat(const char *path, mode_t mode)
{
    return open_traced(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat64(const char *path, mode_t mode)
{
    return creat(path, mode);
}

int renameat2(int from, const char *from_path, int to, const char *to_path, unsigned flags)
{
    struct place old = place_resolve(from, from_path);
    struct place new = place_resolve(to, to_path);
    if (!old.traced && !new.traced)
        return (int)syscall(SYS_renameat2, from, from_path, to, to_path, flags);
    if (old.traced != new.traced || (flags & RENAME_EXCHANGE))
        fail("this rename is not modeled");
    int trace = trace_lock();
    uint64_t inode = path_inode(from, from_path);
    bool same_file = inode == path_inode(to, to_path); /* POSIX: it then does nothing */
    int result = (int)syscall(SYS_renameat2, from, from_path, to, to_path, flags);
    if (result == 0 && !same_file) {
        struct record record = {.kind = KIND_RENAME, .inode = inode};
        record.parent = old.parent;
        record.parent_to = new.parent;
        trace_record(trace, record, old.name, new.name);
    }
    trace_unlock(trace);
    return result;
}

int renameat(int from, const char *from_path, int to, const char *to_path)
{
    return renameat2(from, from_path, to, to_path, 0);
}

int rename(const char *from_path, const char *to_path)
{
    return renameat2(AT_FDCWD, from_path, AT_FDCWD, to_path, 0);
}

int linkat(int from, const char *from_path, int to, const char *to_path, int flags)
{
    struct place place = place_resolve(to, to_path);
    if (!place.traced)
        return (int)syscall(SYS_linkat, from, from_path, to, to_path, flags);
    int trace = trace_lock();
    int result = (int)syscall(SYS_linkat, from, from_path, to, to_path, flags);
    if (result == 0) {
        struct record record = {.kind = KIND_LINK, .parent = place.parent};
        record.inode = path_inode(to, to_path);
        trace_record(trace, record, place.name, "");
    }
    trace_unlock(trace);
    return result;
}

int link(const char *from_path, const char *to_path)
{
    return linkat(AT_FDCWD, from_path, AT_FDCWD, to_path, 0);
}

int unlinkat(int directory, const char *path, int flags)
{
    struct place place = place_resolve(directory, path);
    if (!place.traced)
        return (int)syscall(SYS_unlinkat, directory, path, flags);
    int trace = trace_lock();
    int result = (int)syscall(SYS_unlinkat, directory, path, flags);
    if (result == 0) {
        struct record record = {.kind = KIND_UNLINK, .parent = place.parent};
        trace_record(trace, record, place.name, "");
    }
    trace_unlock(trace);
    return result;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int remove(const char *path)
{
    int result = unlink(path);
    return result != 0 && errno == EISDIR ? rmdir(path) : result;
}

int mkdirat(int directory, const char *path, mode_t mode)
{
    struct place place = place_resolve(directory, path);
    if (!place.traced)
        return (int)syscall(SYS_mkdirat, directory, path, mode);
    int trace = trace_lock();
    int result = (int)syscall(SYS_mkdirat, directory, path, mode);
    if (result == 0) {
        struct record record = {.kind = KIND_DIRECTORY, .parent = place.parent};
        record.inode = path_inode(directory, path);
        trace_record(trace, record, place.name, "");
    }
    trace_unlock(trace);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int symlinkat(const char *target, int directory, const char *path)
{
    if (place_resolve(directory, path).traced)
        fail("symbolic links are not modeled");
    return (int)syscall(SYS_symlinkat, target, directory, path);
}

int symlink(const char *target, const char *path)
{
    return symlinkat(target, AT_FDCWD, path);
}

/* ---- syncs ---- */

static void sync_record(enum kind kind, uint64_t inode)
{
    int error = errno;
    int trace = trace_lock();
    trace_record(trace, (struct record){.kind = kind, .inode = inode}, "", "");
    trace_unlock(trace);
    errno = error;
}

static int sync_traced(long number, int fd, uint64_t inode)
{
    sync_record(KIND_SYNC_BEGIN, inode);
    int result = (int)syscall(number, fd);
    if (result == 0)
        sync_record(KIND_SYNC_END, inode);
    return result;
}

int fsync(int fd)
{
    return fd_traced(fd) ? sync_traced(SYS_fsync, fd, fd_inode(fd)) : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    if (!fd_traced(fd))
        return (int)syscall(SYS_fdatasync, fd);
    return sync_traced(SYS_fdatasync, fd, fd_inode(fd));
}

/* Inode 0 stands for all inodes. */
int syncfs(int fd)
{
    return fd_on_device(fd) ? sync_traced(SYS_syncfs, fd, 0) : (int)syscall(SYS_syncfs, fd);
}

void sync(void)
{
    if (trace_on())
        sync_traced(SYS_sync, 0, 0);
    else
        syscall(SYS_sync);
}
