// What Affinity uses of RocksDB, as plain C.
//
// A shim over the C++ interface, because RocksDB's own C interface has no shared write-buffer manager. No exception
// leaves it. Every call can be made on any thread; calls on one batch or one iterator must not overlap. Bytes that
// are handed out stay valid until the next call on the object they came from, unless something else is said.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define CROCKS_NOEXCEPT noexcept
extern "C" {
#else
#define CROCKS_NOEXCEPT
#endif

typedef struct crocks_shared crocks_shared;
typedef struct crocks_db crocks_db;
typedef struct crocks_batch crocks_batch;
typedef struct crocks_iterator crocks_iterator;

// The kinds of failure that a caller tells apart.
typedef enum {
    crocks_ok = 0,
    crocks_io,
    crocks_full,
    crocks_corrupt,
    crocks_busy,
    crocks_invalid,
    crocks_closed,
    crocks_other,
} crocks_code;

// A failure: `message` is NULL or was made by malloc and belongs to the caller.
typedef struct {
    crocks_code code;
    char *message;
} crocks_status;

// Some bytes of the caller's, or of the object that they came from.
typedef struct {
    const uint8_t *data;
    size_t size;
} crocks_bytes;

typedef enum {
    // A torn write at the end of the newest write-ahead log is dropped, anything else refused; see crocks_check_wal.
    crocks_wal_tail = 0,
    // A write-ahead log with any damage, a torn end included, is refused.
    crocks_wal_absolute = 1,
} crocks_wal_recovery;

typedef struct {
    bool create;
    // Opens for reading alone, without a lock: another process may have it open for writing.
    bool read_only;
    bool compress;
    // A bloom filter of this many bits a key; 0 for none.
    int bloom_bits;
    int max_open_files;
    size_t write_buffer_bytes;
    size_t file_bytes;
    size_t max_wal_bytes;
    int background_jobs;
    crocks_wal_recovery wal_recovery;
    // Whether files that consist mostly of deletions are compacted by themselves.
    bool compact_deletions;
    // New keys that begin with the same bytes, this many, mostly come in their order; 0 if they come in none.
    size_t ascending_prefix;
} crocks_options;

// One block cache and one write-buffer manager for all databases of the process.
crocks_shared *crocks_shared_create(size_t cache_bytes, size_t write_buffer_bytes) CROCKS_NOEXCEPT;
void crocks_shared_destroy(crocks_shared *shared) CROCKS_NOEXCEPT;
size_t crocks_shared_cache_usage(const crocks_shared *shared) CROCKS_NOEXCEPT;
size_t crocks_shared_write_buffer_usage(const crocks_shared *shared) CROCKS_NOEXCEPT;

// Opens a database. It keeps what it needs of `shared`.
crocks_db *crocks_open(const char *path, crocks_options options, crocks_shared *shared, crocks_status *status) CROCKS_NOEXCEPT;
// Closes a database: later calls fail with crocks_closed. Waits for calls and iterators that are under way.
crocks_status crocks_close(crocks_db *db) CROCKS_NOEXCEPT;
// Closes the database if it is open, and frees it. No other call may be under way.
void crocks_destroy(crocks_db *db) CROCKS_NOEXCEPT;

// Looks up the key `prefix` + `key`. The bytes stay valid until crocks_get_release on the same thread.
bool crocks_get(crocks_db *db, crocks_bytes prefix, crocks_bytes key, crocks_bytes *value, crocks_status *status) CROCKS_NOEXCEPT;
// Called once, on the same thread, after a crocks_get that found something.
void crocks_get_release(crocks_db *db) CROCKS_NOEXCEPT;

crocks_batch *crocks_batch_create(void) CROCKS_NOEXCEPT;
void crocks_batch_destroy(crocks_batch *batch) CROCKS_NOEXCEPT;
void crocks_batch_clear(crocks_batch *batch) CROCKS_NOEXCEPT;
size_t crocks_batch_size(const crocks_batch *batch) CROCKS_NOEXCEPT;
uint32_t crocks_batch_count(const crocks_batch *batch) CROCKS_NOEXCEPT;
// Key and value are each given in two parts.
void crocks_batch_put(
    crocks_batch *batch, crocks_bytes prefix, crocks_bytes key, crocks_bytes header, crocks_bytes value) CROCKS_NOEXCEPT;
void crocks_batch_delete(crocks_batch *batch, crocks_bytes prefix, crocks_bytes key) CROCKS_NOEXCEPT;
void crocks_batch_delete_range(crocks_batch *batch, crocks_bytes from, crocks_bytes to) CROCKS_NOEXCEPT;
crocks_status crocks_write(crocks_db *db, crocks_batch *batch, bool use_wal, bool sync) CROCKS_NOEXCEPT;

// Iterates over the keys from `lower` up to, and without, `upper`; empty bounds are none.
crocks_iterator *crocks_iterator_create(
    crocks_db *db, crocks_bytes lower, crocks_bytes upper, bool fill_cache, crocks_status *status) CROCKS_NOEXCEPT;
void crocks_iterator_destroy(crocks_iterator *iterator) CROCKS_NOEXCEPT;
void crocks_iterator_first(crocks_iterator *iterator) CROCKS_NOEXCEPT;
void crocks_iterator_last(crocks_iterator *iterator) CROCKS_NOEXCEPT;
void crocks_iterator_seek(crocks_iterator *iterator, crocks_bytes key) CROCKS_NOEXCEPT;
void crocks_iterator_next(crocks_iterator *iterator) CROCKS_NOEXCEPT;
void crocks_iterator_previous(crocks_iterator *iterator) CROCKS_NOEXCEPT;
// Whether the iterator stands on an entry; if so, which. If not, `status` says whether that is the end or a failure.
bool crocks_iterator_entry(
    const crocks_iterator *iterator, crocks_bytes *key, crocks_bytes *value, crocks_status *status) CROCKS_NOEXCEPT;

crocks_status crocks_flush(crocks_db *db) CROCKS_NOEXCEPT;
crocks_status crocks_sync_wal(crocks_db *db) CROCKS_NOEXCEPT;
crocks_status crocks_checkpoint(crocks_db *db, const char *path) CROCKS_NOEXCEPT;
crocks_status crocks_compact(crocks_db *db, crocks_bytes from, crocks_bytes to) CROCKS_NOEXCEPT;
// A property of the database; NULL if there is none of that name. Made by malloc, the caller's.
char *crocks_property(crocks_db *db, const char *name) CROCKS_NOEXCEPT;

// What a database holds, and what it has done since it was opened.
typedef struct {
    uint64_t entries;
    uint64_t live_bytes;
    uint64_t file_bytes;
    uint64_t memtable_bytes;
    uint64_t waiting_memtables;
    uint64_t pending_compaction_bytes;
    uint64_t running_flushes;
    uint64_t running_compactions;
    // 1 while no write is taken.
    uint64_t stopped;
    // Flushes and compactions together.
    uint64_t compactions;
    double compaction_seconds;
    double compaction_read_bytes;
    double compaction_written_bytes;
    // How often writers were held up: slowed down, or stopped.
    uint64_t slowdowns;
    uint64_t stops;
    double stalled_seconds;
} crocks_figures;

// False if the database is closed.
bool crocks_get_figures(crocks_db *db, crocks_figures *figures) CROCKS_NOEXCEPT;
// About how many entries there are, and the bytes of those that are not replaced; cheap. False if it is closed.
bool crocks_get_size(crocks_db *db, uint64_t *entries, uint64_t *bytes) CROCKS_NOEXCEPT;

// Looks for damage in the write-ahead logs of a database that is not open, and changes nothing.
//
// A write that a crash tore is an incomplete record with nothing valid behind it. It is reported by `torn_bytes` and
// `torn_file` (malloc, the caller's). Everything else that is not as it was written is crocks_corrupt.
crocks_status crocks_check_wal(const char *path, uint64_t *torn_bytes, char **torn_file) CROCKS_NOEXCEPT;

// The version of the library that is linked. Made by malloc, the caller's.
char *crocks_version(void) CROCKS_NOEXCEPT;

// Frees what was made by malloc for the caller. NULL is allowed.
void crocks_free(void *memory) CROCKS_NOEXCEPT;

// CRC-32C of `bytes`, continuing from `crc` (0 to begin).
uint32_t crocks_crc32c(uint32_t crc, crocks_bytes bytes) CROCKS_NOEXCEPT;

#ifdef __cplusplus
}
#endif
