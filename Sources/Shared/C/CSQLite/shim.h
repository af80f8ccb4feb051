#pragma once
#include <sqlite3.h>

// sqlite3_db_config is variadic, which Swift does not import. Sets a flag and tells what it is then.
static inline int CSQLite_config(sqlite3 *database, int operation, int value, int *now) {
    return sqlite3_db_config(database, operation, value, now);
}

// Macros that are expressions, which Swift does not import.
static const int CSQLite_IOERR_FSYNC = SQLITE_IOERR_FSYNC;
static const int CSQLite_IOERR_DIR_FSYNC = SQLITE_IOERR_DIR_FSYNC;
