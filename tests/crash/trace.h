/* The trace of file system changes: its records, its lock, and what lies below the directory. */
#ifndef DTRFAST_TESTS_TRACE_H
#define DTRFAST_TESTS_TRACE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum kind {
    KIND_ROOT = 1,
    KIND_FILE,
    KIND_DIRECTORY,
    KIND_LINK,
    KIND_RENAME,
    KIND_UNLINK,
    KIND_WRITE,
    KIND_WRITE_DURABLE,
    KIND_SIZE,
    KIND_ZERO,
    KIND_SYNC_BEGIN,
    KIND_SYNC_END,
    KIND_MARK,
};

/* As it lies in the trace, followed by name_size bytes of name and data_size bytes of data. */
struct record {
    uint32_t kind;
    uint32_t thread;
    uint64_t inode;
    uint64_t parent;
    uint64_t parent_to;
    int64_t offset;
    uint32_t name_size;
    uint32_t data_size;
};

_Static_assert(sizeof(struct record) == 48, "powercut.py reads 48 bytes");

/* A directory entry that a call names: its directory and its last path component. */
struct place {
    bool traced;
    uint64_t parent;
    char name[NAME_MAX + 1];
};

/* Not exported: a preloaded library lends its names to the whole program. */
#pragma GCC visibility push(hidden)

/* Says why on stderr and aborts: a hole in the trace would make every later verdict wrong. */
void fail(const char *what) __attribute__((noreturn));

/* One lock across threads and processes; the descriptor it returns is where records go. */
int trace_lock(void);
void trace_unlock(int trace);
void trace_record(int trace, struct record record, const char *name, const char *data);
void trace_record_iov(int trace, struct record record, const struct iovec *iov, size_t size);

bool fd_traced(int fd);
bool fd_is_mark(int fd);
/* Is this descriptor on the file system that holds the traced directory? */
bool fd_on_device(int fd);
uint64_t fd_inode(int fd);
/* The inode at a path, 0 when there is none. Links are not followed. */
uint64_t path_inode(int directory, const char *path);
struct place place_resolve(int directory, const char *path);
/* Is anything traced at all? */
bool trace_on(void);

#pragma GCC visibility pop

#endif
