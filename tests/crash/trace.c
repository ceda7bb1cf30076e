/* See trace.h. Calls the kernel directly, because record.c overrides the functions of libc. */
#define _GNU_SOURCE
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char trace_path[PATH_MAX];
static char mark_path[PATH_MAX + 8];
static char root_path[PATH_MAX];
static dev_t root_device;

/* ---- the trace ---- */

void fail(const char *what)
{
    dprintf(STDERR_FILENO, "record.c: %s (errno %d)\n", what, errno);
    abort();
}

int trace_lock(void)
{
    long trace = syscall(SYS_openat, AT_FDCWD, trace_path,
                         O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (trace < 0)
        fail("cannot open the trace");
    while (flock((int)trace, LOCK_EX) != 0)
        if (errno != EINTR)
            fail("cannot lock the trace");
    return (int)trace;
}

/* Closing is not enough: a child that was forked meanwhile shares the description and its lock. */
void trace_unlock(int trace)
{
    int error = errno;
    flock(trace, LOCK_UN);
    close(trace);
    errno = error;
}

static void trace_put(int trace, const void *data, size_t size)
{
    const char *next = data;
    while (size > 0) {
        long done = syscall(SYS_write, trace, next, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            fail("cannot write the trace");
        next += done;
        size -= (size_t)done;
    }
}

void trace_record(int trace, struct record record, const char *name, const char *data)
{
    int error = errno;
    record.thread = (uint32_t)syscall(SYS_gettid);
    record.name_size = (uint32_t)strlen(name);
    record.data_size = (uint32_t)strlen(data);
    trace_put(trace, &record, sizeof(record));
    trace_put(trace, name, record.name_size);
    trace_put(trace, data, record.data_size);
    errno = error;
}

void trace_record_iov(int trace, struct record record, const struct iovec *iov, size_t size)
{
    int error = errno;
    record.thread = (uint32_t)syscall(SYS_gettid);
    record.data_size = (uint32_t)size;
    trace_put(trace, &record, sizeof(record));
    for (; size > 0; iov++) {
        size_t part = iov->iov_len < size ? iov->iov_len : size;
        trace_put(trace, iov->iov_base, part);
        size -= part;
    }
    errno = error;
}

/* ---- descriptors and paths ---- */

bool trace_on(void)
{
    return root_path[0] != 0;
}

bool fd_on_device(int fd)
{
    struct stat status;
    return trace_on() && fstat(fd, &status) == 0 && status.st_dev == root_device;
}

static bool below_root(const char *path)
{
    size_t size = strlen(root_path);
    return strncmp(path, root_path, size) == 0 && (path[size] == '/' || path[size] == 0);
}

static bool fd_path(int fd, char path[PATH_MAX])
{
    char link[32];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    if (size < 0)
        return false;
    path[size] = 0;
    return true;
}

bool fd_traced(int fd)
{
    char path[PATH_MAX];
    int error = errno;
    bool traced = trace_on() && fd_path(fd, path) && below_root(path);
    errno = error;
    return traced;
}

bool fd_is_mark(int fd)
{
    char path[PATH_MAX];
    int error = errno;
    bool mark = trace_on() && fd_path(fd, path) && strcmp(path, mark_path) == 0;
    errno = error;
    return mark;
}

uint64_t fd_inode(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        fail("cannot stat a traced descriptor");
    return status.st_ino;
}

uint64_t path_inode(int directory, const char *path)
{
    struct stat status;
    int error = errno;
    bool found = fstatat(directory, path, &status, AT_SYMLINK_NOFOLLOW) == 0;
    errno = error;
    return found ? status.st_ino : 0;
}

struct place place_resolve(int directory, const char *path)
{
    struct place place = {0};
    char copy[PATH_MAX];
    int error = errno;
    size_t size = strnlen(path, PATH_MAX);
    if (!trace_on() || size == 0 || size == PATH_MAX)
        return place;
    memcpy(copy, path, size + 1);
    while (size > 1 && copy[size - 1] == '/')
        copy[--size] = 0;
    char *slash = strrchr(copy, '/');
    const char *name = slash ? slash + 1 : copy;
    const char *parent = !slash ? "." : slash == copy ? "/" : copy;
    memcpy(place.name, name, strnlen(name, NAME_MAX));
    if (slash && slash != copy)
        *slash = 0;
    int fd = (int)syscall(SYS_openat, directory, parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        place.traced = fd_traced(fd);
        if (place.traced)
            place.parent = fd_inode(fd);
        close(fd);
    }
    errno = error;
    return place;
}

__attribute__((constructor)) static void start(void)
{
    const char *trace = getenv("POWERCUT_TRACE");
    const char *root = getenv("POWERCUT_ROOT");
    struct stat status;
    if (!trace || !root)
        return;
    snprintf(trace_path, sizeof(trace_path), "%s", trace);
    if (!realpath(root, root_path) || stat(root_path, &status) != 0)
        fail("POWERCUT_ROOT is not a directory");
    root_device = status.st_dev;
    int fd = trace_lock();
    char path[PATH_MAX];
    if (!fd_path(fd, path))
        fail("cannot find the trace");
    snprintf(mark_path, sizeof(mark_path), "%s.mark", path);
    if (lseek(fd, 0, SEEK_END) == 0)
        trace_record(fd, (struct record){.kind = KIND_ROOT, .inode = status.st_ino}, "", "");
    trace_unlock(fd);
}
