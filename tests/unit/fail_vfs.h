// A SQLite VFS whose n-th call fails, laid over the default one.
//
// What it does at the n-th call and after it is the kind. After VFS_KILLED nothing reaches the disk
// any more, as if the process had been killed there in the middle of a write; after VFS_POWER
// besides, once the files are closed, what was written since the last sync of a file is taken back,
// in part or whole. Single-threaded.
#pragma once

#include <stdbool.h>

enum vfs_kind {
    VFS_EIO,    // that call fails, once
    VFS_FULL,   // no write, no growth from there on: SQLITE_FULL, until vfs_fail_end
    VFS_SHORT,  // that read gives half of what was asked for
    VFS_KILLED, // half of that write, then nothing
    VFS_POWER,  // and what was not synced is lost
    VFS_KINDS
};

// Makes it the default VFS of the process.
void vfs_install(void);
// Counts from here; n == 0: count only.
void vfs_fail_at(enum vfs_kind kind, unsigned n);
// Whether the plan's call has come.
bool vfs_failed(void);
// Ends the plan; files must be closed for VFS_POWER. Returns how many calls of the kind there were.
unsigned vfs_fail_end(void);
