#pragma once
#include <ares.h>

// Function-like macros, which Swift does not import.
static inline int CCares_isReadable(int bits, int place) { return ARES_GETSOCK_READABLE(bits, place) != 0; }
static inline int CCares_isWritable(int bits, int place) { return ARES_GETSOCK_WRITABLE(bits, place) != 0; }
