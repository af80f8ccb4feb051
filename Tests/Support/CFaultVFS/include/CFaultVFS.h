#pragma once
// A SQLite VFS called "fault" that passes everything to the default one until it is told to fail.

enum {
    CFaultVFS_none = 0,
    // Writes answer SQLITE_FULL, as on a full disk.
    CFaultVFS_full = 1,
    // Writes put down half of their bytes and answer SQLITE_IOERR_WRITE.
    CFaultVFS_write = 2,
    // Syncs answer SQLITE_IOERR_FSYNC.
    CFaultVFS_sync = 3,
    // Writes put down nothing and answer SQLITE_IOERR_WRITE, as SQLite's own VFS does with EDQUOT and with EROFS.
    CFaultVFS_quota = 4,
    CFaultVFS_readOnly = 5
};

// Registers the VFS. 0 when it worked; calling it again is harmless.
int CFaultVFS_register(void);
// From the call after next `after` ones of the kind on, every such call fails until the next arm.
void CFaultVFS_arm(int kind, int after);
// How many calls have failed since the last arm.
int CFaultVFS_failures(void);
