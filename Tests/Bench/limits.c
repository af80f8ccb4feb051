// The other side of scripts/bench: what the parts below Skystead can do by themselves, in plain C.
//
//   limits sign                     microseconds of CPU for one secp256k1 signature
//   limits group FILE BATCH SECS    transactions a second when BATCH of them share one FULL commit, with the rows
//                                   that createRecord writes (record, MST pack, event, repo, counter)
//   limits single FILE SECS         median latency in microseconds of one such transaction with its own FULL commit
//   limits blob FILE BYTES          seconds of SHA-256 alone, and of write + fsync alone
//
// Each prints one line of JSON.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <fcntl.h>
#include <openssl/sha.h>
#include <secp256k1.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, compare);
    return values[count / 2];
}

static void check(int code, int wanted, const char *what) {
    if (code == wanted) return;
    fprintf(stderr, "limits: %s: %d\n", what, code);
    exit(1);
}

static int sign(void) {
    secp256k1_context *context = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
    unsigned char key[32], hash[32];
    memset(key, 7, sizeof key);
    memset(hash, 9, sizeof hash);
    enum { rounds = 9, count = 1000 };
    double rates[rounds];
    for (int round = 0; round < rounds; round++) {
        double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
        for (int i = 0; i < count; i++) {
            secp256k1_ecdsa_signature signature;
            hash[0] = (unsigned char)i;
            check(secp256k1_ecdsa_sign(context, &signature, hash, key, NULL, NULL), 1, "sign");
        }
        rates[round] = (seconds(CLOCK_PROCESS_CPUTIME_ID) - start) / count * 1e6;
    }
    printf("{\"microseconds\": %.2f}\n", median(rates, rounds));
    return 0;
}

// The rows of one createRecord, by size: record 250, MST pack 2,560 (one a repository, overwritten), event 1,900, commit
// 230 bytes.
static unsigned char bytes[4096];
static sqlite3 *database;
static sqlite3_stmt *record, *pack, *event, *repo, *counter;

static sqlite3_stmt *prepare(const char *sql) {
    sqlite3_stmt *statement = NULL;
    check(sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), SQLITE_OK, sql);
    return statement;
}

static void execute(const char *sql) { check(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK, sql); }

static void step(sqlite3_stmt *statement) {
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) code = sqlite3_step(statement);
    check(code, SQLITE_DONE, "step");
    sqlite3_reset(statement);
}

static void open_database(const char *path) {
    char other[4096];
    unlink(path);
    snprintf(other, sizeof other, "%s-wal", path);
    unlink(other);
    snprintf(other, sizeof other, "%s-shm", path);
    unlink(other);
    check(sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL),
          SQLITE_OK, "open");
    execute("PRAGMA journal_mode = WAL");
    execute("PRAGMA synchronous = FULL");
    execute("CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT");
    execute("INSERT INTO counter VALUES ('event', 0)");
    execute("CREATE TABLE repo (id INTEGER PRIMARY KEY, did TEXT UNIQUE, rev TEXT, commit_cid BLOB, data_cid BLOB, "
            "commit_block BLOB) STRICT");
    execute("CREATE TABLE record (repo INTEGER, key BLOB, cid BLOB, rev TEXT, value BLOB, PRIMARY KEY (repo, key)) "
            "STRICT, WITHOUT ROWID");
    execute("CREATE TABLE mst_pack (repo INTEGER, rev TEXT, bytes BLOB, PRIMARY KEY (repo, rev)) STRICT");
    execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, did TEXT, kind TEXT, created_at INTEGER, payload BLOB) STRICT");
    for (int i = 1; i <= 64; i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "INSERT INTO repo VALUES (%d, 'did:plc:abcdefghijklmnopqrst%04d', '', x'', x'', x'')", i, i);
        execute(sql);
    }
    record = prepare("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5)");
    pack = prepare("INSERT INTO mst_pack VALUES (?1, '', ?3) "
                   "ON CONFLICT (repo, rev) DO UPDATE SET bytes = excluded.bytes");
    event = prepare("INSERT INTO event VALUES (?1, ?2, '#commit', ?3, ?4)");
    repo = prepare("UPDATE repo SET rev = ?2, commit_cid = ?3, data_cid = ?4, commit_block = ?5 WHERE id = ?1");
    counter = prepare("UPDATE counter SET value = value + 1 WHERE name = 'event' RETURNING value");
}

static void transaction_rows(long n) {
    char rev[32], key[64], did[64];
    int id = (int)(n % 64) + 1;
    snprintf(rev, sizeof rev, "%013ld", n);
    int key_length = snprintf(key, sizeof key, "app.bsky.feed.post/%013ld", n);
    snprintf(did, sizeof did, "did:plc:abcdefghijklmnopqrst%04d", id);
    sqlite3_bind_int(record, 1, id);
    sqlite3_bind_blob(record, 2, key, key_length, SQLITE_STATIC);
    sqlite3_bind_blob(record, 3, bytes, 36, SQLITE_STATIC);
    sqlite3_bind_text(record, 4, rev, 13, SQLITE_STATIC);
    sqlite3_bind_blob(record, 5, bytes, 250, SQLITE_STATIC);
    step(record);
    sqlite3_bind_int(pack, 1, id);
    // Other bytes than before, or SQLite would leave the page alone.
    memcpy(bytes, &n, sizeof n);
    sqlite3_bind_blob(pack, 3, bytes, 2560, SQLITE_STATIC);
    step(pack);
    step(counter);
    sqlite3_bind_int64(event, 1, n + 1);
    sqlite3_bind_text(event, 2, did, -1, SQLITE_STATIC);
    sqlite3_bind_int64(event, 3, n);
    sqlite3_bind_blob(event, 4, bytes, 1900, SQLITE_STATIC);
    step(event);
    sqlite3_bind_int(repo, 1, id);
    sqlite3_bind_text(repo, 2, rev, 13, SQLITE_STATIC);
    sqlite3_bind_blob(repo, 3, bytes, 36, SQLITE_STATIC);
    sqlite3_bind_blob(repo, 4, bytes, 36, SQLITE_STATIC);
    sqlite3_bind_blob(repo, 5, bytes, 230, SQLITE_STATIC);
    step(repo);
}

static int group(const char *path, int batch, double limit) {
    open_database(path);
    sqlite3_stmt *save = prepare("SAVEPOINT one"), *release = prepare("RELEASE one");
    long n = 0;
    double start = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    while (seconds(CLOCK_MONOTONIC) - start < limit) {
        execute("BEGIN IMMEDIATE");
        for (int i = 0; i < batch; i++) {
            step(save);
            transaction_rows(n++);
            step(release);
        }
        execute("COMMIT");
    }
    double wall = seconds(CLOCK_MONOTONIC) - start;
    printf("{\"transactions_per_second\": %.0f, \"cpu_microseconds\": %.2f}\n", (double)n / wall,
           (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (double)n * 1e6);
    return 0;
}

static int single(const char *path, double limit) {
    open_database(path);
    static double latencies[1000000];
    int n = 0;
    double start = seconds(CLOCK_MONOTONIC);
    while (seconds(CLOCK_MONOTONIC) - start < limit && n < 1000000) {
        double begin = seconds(CLOCK_MONOTONIC);
        execute("BEGIN IMMEDIATE");
        transaction_rows(n);
        execute("COMMIT");
        latencies[n++] = (seconds(CLOCK_MONOTONIC) - begin) * 1e6;
    }
    printf("{\"median_microseconds\": %.1f, \"transactions\": %d}\n", median(latencies, n), n);
    return 0;
}

static int blob(const char *path, size_t size) {
    unsigned char *content = malloc(size), digest[32];
    if (!content) return 1;
    memset(content, 5, size);
    enum { rounds = 15 };
    double hashing[rounds], writing[rounds];
    for (int round = 0; round < rounds; round++) {
        content[0] = (unsigned char)round;
        double start = seconds(CLOCK_MONOTONIC);
        SHA256_CTX context;
        SHA256_Init(&context);
        SHA256_Update(&context, content, size);
        SHA256_Final(digest, &context);
        hashing[round] = seconds(CLOCK_MONOTONIC) - start;
        start = seconds(CLOCK_MONOTONIC);
        int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        for (size_t done = 0; done < size;) {
            ssize_t count = write(file, content + done, size - done);
            if (count <= 0) return 1;
            done += (size_t)count;
        }
        check(fsync(file), 0, "fsync");
        close(file);
        writing[round] = seconds(CLOCK_MONOTONIC) - start;
        unlink(path);
    }
    printf("{\"sha256_seconds\": %.6f, \"write_fsync_seconds\": %.6f}\n", median(hashing, rounds), median(writing, rounds));
    return 0;
}

int main(int count, char **words) {
    memset(bytes, 0xA5, sizeof bytes);
    if (count == 2 && !strcmp(words[1], "sign")) return sign();
    if (count == 5 && !strcmp(words[1], "group")) return group(words[2], atoi(words[3]), atof(words[4]));
    if (count == 4 && !strcmp(words[1], "single")) return single(words[2], atof(words[3]));
    if (count == 4 && !strcmp(words[1], "blob")) return blob(words[2], (size_t)atol(words[3]));
    fprintf(stderr, "usage: limits sign | group FILE BATCH SECS | single FILE SECS | blob FILE BYTES\n");
    return 64;
}
