#include "CFaultVFS.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>

typedef struct {
    sqlite3_file base;
    sqlite3_file *real;
} fault_file;

static sqlite3_vfs fault;
static sqlite3_vfs *below;
static atomic_int fault_kind, calls_left, failures;

static sqlite3_file *real(sqlite3_file *file) { return ((fault_file *)file)->real; }

// 1 when this call of one of the kinds must fail.
static int must_fail(int first, int second) {
    int kind = atomic_load(&fault_kind);
    if (kind != first && kind != second) return 0;
    if (atomic_fetch_sub(&calls_left, 1) > 0) return 0;
    atomic_fetch_add(&failures, 1);
    return 1;
}

static int close_file(sqlite3_file *f) { return real(f)->pMethods ? real(f)->pMethods->xClose(real(f)) : SQLITE_OK; }
static int read_file(sqlite3_file *f, void *b, int n, sqlite3_int64 o) {
    return real(f)->pMethods->xRead(real(f), b, n, o);
}
static int write_file(sqlite3_file *f, const void *b, int n, sqlite3_int64 o) {
    if (must_fail(CFaultVFS_full, CFaultVFS_write)) {
        if (atomic_load(&fault_kind) == CFaultVFS_full) return SQLITE_FULL;
        real(f)->pMethods->xWrite(real(f), b, n / 2, o);
        return SQLITE_IOERR_WRITE;
    }
    if (must_fail(CFaultVFS_quota, CFaultVFS_readOnly)) {
        errno = atomic_load(&fault_kind) == CFaultVFS_quota ? EDQUOT : EROFS;
        return SQLITE_IOERR_WRITE;
    }
    return real(f)->pMethods->xWrite(real(f), b, n, o);
}
static int truncate_file(sqlite3_file *f, sqlite3_int64 n) { return real(f)->pMethods->xTruncate(real(f), n); }
static int sync_file(sqlite3_file *f, int flags) {
    if (must_fail(CFaultVFS_sync, CFaultVFS_sync)) return SQLITE_IOERR_FSYNC;
    return real(f)->pMethods->xSync(real(f), flags);
}
static int file_size(sqlite3_file *f, sqlite3_int64 *n) { return real(f)->pMethods->xFileSize(real(f), n); }
static int lock(sqlite3_file *f, int l) { return real(f)->pMethods->xLock(real(f), l); }
static int unlock(sqlite3_file *f, int l) { return real(f)->pMethods->xUnlock(real(f), l); }
static int reserved(sqlite3_file *f, int *r) { return real(f)->pMethods->xCheckReservedLock(real(f), r); }
static int control(sqlite3_file *f, int o, void *a) { return real(f)->pMethods->xFileControl(real(f), o, a); }
static int sector_size(sqlite3_file *f) { return real(f)->pMethods->xSectorSize(real(f)); }
static int characteristics(sqlite3_file *f) { return real(f)->pMethods->xDeviceCharacteristics(real(f)); }
static int shm_map(sqlite3_file *f, int p, int n, int e, void volatile **v) {
    return real(f)->pMethods->xShmMap(real(f), p, n, e, v);
}
static int shm_lock(sqlite3_file *f, int o, int n, int flags) {
    return real(f)->pMethods->xShmLock(real(f), o, n, flags);
}
static void shm_barrier(sqlite3_file *f) { real(f)->pMethods->xShmBarrier(real(f)); }
static int shm_unmap(sqlite3_file *f, int d) { return real(f)->pMethods->xShmUnmap(real(f), d); }

static const sqlite3_io_methods methods = {
    2,        close_file, read_file, write_file, truncate_file, sync_file,       file_size, lock,     unlock,
    reserved, control,    sector_size, characteristics, shm_map, shm_lock, shm_barrier, shm_unmap, 0, 0,
};

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
    (void)vfs;
    fault_file *wrapped = (fault_file *)file;
    memset(wrapped, 0, sizeof *wrapped);
    wrapped->real = (sqlite3_file *)(wrapped + 1);
    int code = below->xOpen(below, name, wrapped->real, flags, out);
    // SQLite calls xClose whenever the methods are set.
    if (code == SQLITE_OK) wrapped->base.pMethods = &methods;
    return code;
}

int CFaultVFS_register(void) {
    if (below) return 0;
    below = sqlite3_vfs_find(0);
    if (!below) return 1;
    // Everything but xOpen is the default's own, which does not look at the vfs that it is called with.
    fault = *below;
    fault.pNext = 0;
    fault.zName = "fault";
    fault.szOsFile = (int)sizeof(fault_file) + below->szOsFile;
    fault.xOpen = open_file;
    return sqlite3_vfs_register(&fault, 0);
}

void CFaultVFS_arm(int kind, int after) {
    atomic_store(&fault_kind, CFaultVFS_none);
    atomic_store(&calls_left, after);
    atomic_store(&failures, 0);
    atomic_store(&fault_kind, kind);
}

int CFaultVFS_failures(void) { return atomic_load(&failures); }
