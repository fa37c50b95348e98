#include "crocksdb.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/utilities/table_properties_collectors.h>
#include <rocksdb/version.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "internal.h"

using namespace rocksdb;

namespace {

Slice slice(crocks_bytes bytes) { return Slice(reinterpret_cast<const char *>(bytes.data), bytes.size); }

crocks_bytes bytes(const Slice &slice) { return {reinterpret_cast<const uint8_t *>(slice.data()), slice.size()}; }

crocks_status status_of(const Status &status) noexcept {
    if (status.ok()) return {crocks_ok, nullptr};
    return guarded([&] {
        const std::string text = status.ToString();
        crocks_code code = crocks_other;
        if (status.IsNoSpace() || text.find("No space left") != std::string::npos) {
            code = crocks_full;
        } else if (status.IsCorruption()) {
            code = crocks_corrupt;
        } else if (status.IsBusy() || text.find("lock ") != std::string::npos) {
            // The lock on the folder, held by another process or by this one.
            code = crocks_busy;
        } else if (status.IsIOError() || status.IsPathNotFound()) {
            code = crocks_io;
        } else if (status.IsInvalidArgument() || status.IsNotSupported()) {
            code = crocks_invalid;
        }
        return failure(code, text);
    });
}

const crocks_status is_closed = {crocks_closed, nullptr};

bool has_lz4() {
    const auto types = GetSupportedCompressions();
    return std::find(types.begin(), types.end(), kLZ4Compression) != types.end();
}

}  // namespace

struct crocks_shared {
    std::shared_ptr<Cache> cache;
    std::shared_ptr<WriteBufferManager> buffers;
};

struct crocks_db {
    std::unique_ptr<DB> db;
    std::shared_ptr<WriteBufferManager> buffers;
    // How many calls and iterators are under way; the top bit says that no more may begin.
    std::atomic<uint32_t> users{0};
    static constexpr uint32_t closed_bit = 1u << 31;

    bool enter() {
        if ((users.fetch_add(1, std::memory_order_acquire) & closed_bit) == 0) return true;
        leave();
        return false;
    }

    void leave() {
        if (users.fetch_sub(1, std::memory_order_release) == (closed_bit | 1)) users.notify_all();
    }

    // Returns whether the caller is the one that closes.
    bool end_use() {
        if (users.fetch_or(closed_bit, std::memory_order_acq_rel) & closed_bit) return false;
        for (uint32_t now = users.load(std::memory_order_acquire); now != closed_bit;
             now = users.load(std::memory_order_acquire)) {
            users.wait(now, std::memory_order_acquire);
        }
        return true;
    }
};

namespace {

// Runs `body` while the database cannot be closed.
template <class Body>
crocks_status with(crocks_db *db, Body body) noexcept {
    if (!db->enter()) return is_closed;
    const crocks_status status = guarded([&] { return status_of(body(*db->db)); });
    db->leave();
    return status;
}

Options options_of(const crocks_options &wanted, crocks_shared *shared) {
    Options options;
    options.env = padding_env();
    options.create_if_missing = wanted.create;
    options.paranoid_checks = true;
    options.write_buffer_manager = shared->buffers;
    options.write_buffer_size = wanted.write_buffer_bytes;
    options.max_write_buffer_number = 3;
    // Files that are all open stay readable when another process deletes them.
    options.max_open_files = wanted.read_only ? -1 : wanted.max_open_files;
    options.max_background_jobs = wanted.background_jobs;
    options.target_file_size_base = wanted.file_bytes;
    options.max_bytes_for_level_base = wanted.file_bytes * 4;
    options.level_compaction_dynamic_level_bytes = true;
    options.compression = wanted.compress && has_lz4() ? kLZ4Compression : kNoCompression;
    options.max_total_wal_size = wanted.max_wal_bytes;
    // What is wrong in it has been looked for by crocks_check_wal: there is nothing but a torn end left to tolerate.
    options.wal_recovery_mode = wanted.wal_recovery == crocks_wal_absolute ? WALRecoveryMode::kAbsoluteConsistency
                                                                           : WALRecoveryMode::kPointInTimeRecovery;
    options.track_and_verify_wals_in_manifest = true;
    options.bytes_per_sync = 1 << 20;
    options.max_manifest_file_size = 8 << 20;
    options.keep_log_file_num = 3;
    options.max_log_file_size = 4 << 20;
    options.info_log_level = InfoLogLevel::WARN_LEVEL;
    options.stats_dump_period_sec = 0;
    options.stats_persist_period_sec = 0;
    if (wanted.compact_deletions) {
        options.table_properties_collector_factories.push_back(
            NewCompactOnDeletionCollectorFactory(4096, 2048, 0.5));
    }
    if (wanted.ascending_prefix > 0) {
        options.memtable_insert_with_hint_prefix_extractor.reset(NewFixedPrefixTransform(wanted.ascending_prefix));
    }
    BlockBasedTableOptions table;
    table.block_cache = shared->cache;
    table.cache_index_and_filter_blocks = true;
    table.pin_l0_filter_and_index_blocks_in_cache = true;
    table.block_size = 16 * 1024;
    // A key is found in its block by a hash, and few keys are read behind the place where that points.
    table.data_block_index_type = BlockBasedTableOptions::kDataBlockBinaryAndHash;
    table.block_restart_interval = 4;
    table.format_version = 5;
    if (wanted.bloom_bits > 0) table.filter_policy.reset(NewBloomFilterPolicy(wanted.bloom_bits));
    options.table_factory.reset(NewBlockBasedTableFactory(table));
    return options;
}

}  // namespace

void crocks_free(void *memory) noexcept { free(memory); }

char *crocks_version(void) noexcept {
    try {
        return strdup(GetRocksVersionAsString().c_str());
    } catch (...) {
        return nullptr;
    }
}

// MARK: - Shared memory

crocks_shared *crocks_shared_create(size_t cache_bytes, size_t write_buffer_bytes) noexcept {
    try {
        auto shared = std::make_unique<crocks_shared>();
        shared->cache = NewLRUCache(cache_bytes);
        // Not charged to the cache: a burst of writes must not throw out what is read. Writers are not stalled
        // either: at 7/8 of the limit the manager makes the database that writes flush, which bounds it in practice.
        shared->buffers = std::make_shared<WriteBufferManager>(write_buffer_bytes);
        return shared.release();
    } catch (...) {
        return nullptr;
    }
}

void crocks_shared_destroy(crocks_shared *shared) noexcept { delete shared; }

size_t crocks_shared_cache_usage(const crocks_shared *shared) noexcept { return shared->cache->GetUsage(); }

size_t crocks_shared_write_buffer_usage(const crocks_shared *shared) noexcept { return shared->buffers->memory_usage(); }

// MARK: - Databases

crocks_db *crocks_open(const char *path, crocks_options wanted, crocks_shared *shared, crocks_status *status) noexcept {
    crocks_db *result = nullptr;
    *status = guarded([&]() -> crocks_status {
        auto opened = std::make_unique<crocks_db>();
        DB *db = nullptr;
        const Options options = options_of(wanted, shared);
        const Status outcome =
            wanted.read_only ? DB::OpenForReadOnly(options, path, &db) : DB::Open(options, path, &db);
        opened->db.reset(db);
        if (!outcome.ok()) return status_of(outcome);
        result = opened.release();
        return {crocks_ok, nullptr};
    });
    return result;
}

crocks_status crocks_close(crocks_db *db) noexcept {
    if (!db->end_use()) return {crocks_ok, nullptr};
    return guarded([&] {
        const Status outcome = db->db->Close();
        db->db.reset();
        return status_of(outcome);
    });
}

void crocks_destroy(crocks_db *db) noexcept {
    free(crocks_close(db).message);
    delete db;
}

// A destructor at the end of the thread would touch a cache that is gone, so the slice is released after each use.
static thread_local PinnableSlice found;
static thread_local std::string joined;

bool crocks_get(crocks_db *db, crocks_bytes prefix, crocks_bytes key, crocks_bytes *value, crocks_status *status) noexcept {
    bool is_there = false;
    *status = with(db, [&](DB &open) {
        joined.assign(reinterpret_cast<const char *>(prefix.data), prefix.size);
        joined.append(reinterpret_cast<const char *>(key.data), key.size);
        found.Reset();
        Status outcome = open.Get(ReadOptions(), open.DefaultColumnFamily(), joined, &found);
        if (outcome.IsNotFound()) return Status::OK();
        if (outcome.ok()) {
            is_there = true;
            *value = bytes(found);
            // Keeps the database from closing until crocks_get_release.
            db->users.fetch_add(1, std::memory_order_relaxed);
        }
        return outcome;
    });
    return is_there;
}

void crocks_get_release(crocks_db *db) noexcept {
    found.Reset();
    db->leave();
}

crocks_status crocks_flush(crocks_db *db) noexcept {
    return with(db, [](DB &open) {
        FlushOptions options;
        options.wait = true;
        options.allow_write_stall = true;
        return open.Flush(options);
    });
}

crocks_status crocks_sync_wal(crocks_db *db) noexcept {
    return with(db, [](DB &open) { return open.SyncWAL(); });
}

crocks_status crocks_checkpoint(crocks_db *db, const char *path) noexcept {
    return with(db, [&](DB &open) {
        Checkpoint *made = nullptr;
        const Status outcome = Checkpoint::Create(&open, &made);
        if (!outcome.ok()) return outcome;
        const std::unique_ptr<Checkpoint> checkpoint(made);
        return checkpoint->CreateCheckpoint(path);
    });
}

crocks_status crocks_compact(crocks_db *db, crocks_bytes from, crocks_bytes to) noexcept {
    return with(db, [&](DB &open) {
        CompactRangeOptions options;
        options.exclusive_manual_compaction = false;
        options.max_subcompactions = 1;
        options.bottommost_level_compaction = BottommostLevelCompaction::kForceOptimized;
        const Slice first = slice(from), last = slice(to);
        return open.CompactRange(options, &first, &last);
    });
}

char *crocks_property(crocks_db *db, const char *name) noexcept {
    char *result = nullptr;
    free(with(db, [&](DB &open) {
             std::string value;
             if (open.GetProperty(name, &value)) result = copied(value);
             return Status::OK();
         }).message);
    return result;
}

// MARK: - Batches

struct crocks_batch {
    WriteBatch batch;
};

crocks_batch *crocks_batch_create(void) noexcept { return new (std::nothrow) crocks_batch; }

void crocks_batch_destroy(crocks_batch *batch) noexcept { delete batch; }

void crocks_batch_clear(crocks_batch *batch) noexcept { batch->batch.Clear(); }

size_t crocks_batch_size(const crocks_batch *batch) noexcept { return batch->batch.GetDataSize(); }

uint32_t crocks_batch_count(const crocks_batch *batch) noexcept { return batch->batch.Count(); }

// Putting into a batch without a limit fails only where there is no memory, which ends the process as in Swift.
void crocks_batch_put(
    crocks_batch *batch, crocks_bytes prefix, crocks_bytes key, crocks_bytes header, crocks_bytes value) noexcept {
    const Slice keys[] = {slice(prefix), slice(key)}, values[] = {slice(header), slice(value)};
    batch->batch.Put(SliceParts(keys, 2), SliceParts(values, 2));
}

void crocks_batch_delete(crocks_batch *batch, crocks_bytes prefix, crocks_bytes key) noexcept {
    const Slice keys[] = {slice(prefix), slice(key)};
    batch->batch.Delete(SliceParts(keys, 2));
}

void crocks_batch_delete_range(crocks_batch *batch, crocks_bytes from, crocks_bytes to) noexcept {
    batch->batch.DeleteRange(slice(from), slice(to));
}

crocks_status crocks_write(crocks_db *db, crocks_batch *batch, bool use_wal, bool sync) noexcept {
    return with(db, [&](DB &open) {
        WriteOptions options;
        options.disableWAL = !use_wal;
        options.sync = sync && use_wal;
        return open.Write(options, &batch->batch);
    });
}

// MARK: - Iterators

struct crocks_iterator {
    crocks_db *db;
    std::string lower, upper;
    Slice lower_slice, upper_slice;
    std::unique_ptr<Iterator> iterator;
};

crocks_iterator *crocks_iterator_create(
    crocks_db *db, crocks_bytes lower, crocks_bytes upper, bool fill_cache, crocks_status *status) noexcept {
    if (!db->enter()) {
        *status = is_closed;
        return nullptr;
    }
    crocks_iterator *result = nullptr;
    *status = guarded([&]() -> crocks_status {
        auto made = std::make_unique<crocks_iterator>();
        made->db = db;
        made->lower.assign(reinterpret_cast<const char *>(lower.data), lower.size);
        made->upper.assign(reinterpret_cast<const char *>(upper.data), upper.size);
        made->lower_slice = made->lower;
        made->upper_slice = made->upper;
        ReadOptions options;
        options.fill_cache = fill_cache;
        if (lower.size > 0) options.iterate_lower_bound = &made->lower_slice;
        if (upper.size > 0) options.iterate_upper_bound = &made->upper_slice;
        made->iterator.reset(db->db->NewIterator(options));
        result = made.release();
        return {crocks_ok, nullptr};
    });
    if (result == nullptr) db->leave();
    return result;
}

void crocks_iterator_destroy(crocks_iterator *iterator) noexcept {
    crocks_db *db = iterator->db;
    delete iterator;
    db->leave();
}

void crocks_iterator_first(crocks_iterator *iterator) noexcept { iterator->iterator->SeekToFirst(); }

void crocks_iterator_last(crocks_iterator *iterator) noexcept { iterator->iterator->SeekToLast(); }

void crocks_iterator_seek(crocks_iterator *iterator, crocks_bytes key) noexcept { iterator->iterator->Seek(slice(key)); }

void crocks_iterator_next(crocks_iterator *iterator) noexcept { iterator->iterator->Next(); }

void crocks_iterator_previous(crocks_iterator *iterator) noexcept { iterator->iterator->Prev(); }

bool crocks_iterator_entry(
    const crocks_iterator *iterator, crocks_bytes *key, crocks_bytes *value, crocks_status *status) noexcept {
    if (iterator->iterator->Valid()) {
        *key = bytes(iterator->iterator->key());
        *value = bytes(iterator->iterator->value());
        *status = {crocks_ok, nullptr};
        return true;
    }
    *status = status_of(iterator->iterator->status());
    return false;
}

// MARK: - Figures

static uint64_t number(DB &db, const std::string &name) {
    uint64_t value = 0;
    db.GetIntProperty(name, &value);
    return value;
}

// What RocksDB writes as text among its own statistics; 0 if it is not there.
static double number(const std::map<std::string, std::string> &facts, const char *name) {
    const auto found = facts.find(name);
    return found == facts.end() ? 0 : strtod(found->second.c_str(), nullptr);
}

bool crocks_get_figures(crocks_db *db, crocks_figures *figures) noexcept {
    *figures = {};
    const crocks_status status = with(db, [&](DB &open) {
        std::map<std::string, std::string> facts;
        open.GetMapProperty(DB::Properties::kCFStats, &facts);
        constexpr double gibibyte = 1 << 30;
        figures->entries = number(open, DB::Properties::kEstimateNumKeys);
        figures->live_bytes = number(open, DB::Properties::kEstimateLiveDataSize);
        figures->file_bytes = number(open, DB::Properties::kTotalSstFilesSize);
        figures->memtable_bytes = number(open, DB::Properties::kCurSizeAllMemTables);
        figures->waiting_memtables = number(open, DB::Properties::kNumImmutableMemTable);
        figures->pending_compaction_bytes = number(open, DB::Properties::kEstimatePendingCompactionBytes);
        figures->running_flushes = number(open, DB::Properties::kNumRunningFlushes);
        figures->running_compactions = number(open, DB::Properties::kNumRunningCompactions);
        figures->stopped = number(open, DB::Properties::kIsWriteStopped);
        figures->compactions = static_cast<uint64_t>(number(facts, "compaction.Sum.CompCount"));
        figures->compaction_seconds = number(facts, "compaction.Sum.CompSec");
        figures->compaction_read_bytes = number(facts, "compaction.Sum.ReadGB") * gibibyte;
        figures->compaction_written_bytes = number(facts, "compaction.Sum.WriteGB") * gibibyte;
        figures->slowdowns = static_cast<uint64_t>(number(facts, "io_stalls.total_slowdown"));
        figures->stops = static_cast<uint64_t>(number(facts, "io_stalls.total_stop"));
        std::map<std::string, std::string> whole;
        open.GetMapProperty(DB::Properties::kDBStats, &whole);
        figures->stalled_seconds = number(whole, "db.user_write_stall_micros") / 1e6;
        return Status::OK();
    });
    return status.code == crocks_ok;
}

bool crocks_get_size(crocks_db *db, uint64_t *entries, uint64_t *bytes) noexcept {
    const crocks_status status = with(db, [&](DB &open) {
        *entries = number(open, DB::Properties::kEstimateNumKeys);
        *bytes = number(open, DB::Properties::kEstimateLiveDataSize) +
                 number(open, DB::Properties::kCurSizeAllMemTables);
        return Status::OK();
    });
    return status.code == crocks_ok;
}
