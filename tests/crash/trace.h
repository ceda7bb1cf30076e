/* The trace of file system changes: its records, its lock, and checks for the traced directory. */
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

/* A record of the trace. name_size bytes of name and data_size bytes of data follow. */
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

/* Not exported, since the whole program would see the names of a preloaded library. */
#pragma GCC visibility push(hidden)

/* Prints the reason on stderr and aborts: with a gap in the trace all later results are wrong. */
void fail(const char *what) __attribute__((noreturn));

/* Takes the only lock of all threads and processes; returns the descriptor for records. */
int trace_lock(void);
void trace_unlock(int trace);
void trace_record(int trace, struct record record, const char *name, const char *data);
void trace_record_iov(int trace, struct record record, const struct iovec *iov, size_t size);

bool fd_traced(int fd);
bool fd_is_mark(int fd);
/* True if this descriptor is on the file system of the traced directory. */
bool fd_on_device(int fd);
uint64_t fd_inode(int fd);
/* The inode at a path, 0 if nothing is there. Links are not followed. */
uint64_t path_inode(int directory, const char *path);
struct place place_resolve(int directory, const char *path);
/* True if the program is traced. */
bool trace_on(void);

#pragma GCC visibility pop

#endif
