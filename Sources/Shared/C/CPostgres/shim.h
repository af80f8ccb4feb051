#pragma once
#include <libpq-fe.h>

// Macros of characters, which Swift does not import.
static const int CPostgres_DIAG_SQLSTATE = PG_DIAG_SQLSTATE;
static const int CPostgres_DIAG_MESSAGE_PRIMARY = PG_DIAG_MESSAGE_PRIMARY;
