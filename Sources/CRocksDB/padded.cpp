// Write-ahead logs that are longer than what is written to them: a stretch of zeros is kept ahead of the records.
//
// A write that makes a file longer changes its inode, and the sync that follows writes that too: a second access to
// the disk, one after the other. Behind the first write into a stretch, a sync writes records only.
//
// A file has its true length again when it is closed. After a crash it ends with zeros, which RocksDB and
// crocks_check_wal both take for the end of the records.
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>

#include "internal.h"

using namespace rocksdb;

namespace {

// A stretch is as long as what stands before it, within these bounds: a log that is hardly used stays small.
constexpr uint64_t shortest_stretch = 64 * 1024;
constexpr uint64_t longest_stretch = 1024 * 1024;

char zeros[longest_stretch];

class PaddedFile final : public FSWritableFileOwnerWrapper {
public:
    explicit PaddedFile(std::unique_ptr<FSWritableFile> &&file) : FSWritableFileOwnerWrapper(std::move(file)) {}

    IOStatus Append(const Slice &data, const IOOptions &options, IODebugContext *debug) override {
        if (end_ + data.size() > padded_end_) pad(end_ + data.size(), options, debug);
        const IOStatus status = target()->PositionedAppend(data, end_, options, debug);
        if (status.ok()) end_ += data.size();
        return status;
    }

    IOStatus Append(
        const Slice &data, const IOOptions &options, const DataVerificationInfo &, IODebugContext *debug) override {
        return Append(data, options, debug);
    }

    uint64_t GetFileSize(const IOOptions &, IODebugContext *) override { return end_; }

    IOStatus Close(const IOOptions &options, IODebugContext *debug) override {
        IOStatus status;
        if (padded_end_ > end_) {
            status = target()->Truncate(end_, options, debug);
            if (status.ok()) status = target()->Fsync(options, debug);
        }
        padded_end_ = end_;
        const IOStatus closed = target()->Close(options, debug);
        return status.ok() ? closed : status;
    }

private:
    // Where the records end, and where the zeros behind them do.
    uint64_t end_ = 0;
    uint64_t padded_end_ = 0;

    // A disk without room for the zeros may still have it for the record, which says so itself if not.
    void pad(uint64_t from, const IOOptions &options, IODebugContext *debug) {
        const uint64_t length = std::clamp(from, shortest_stretch, longest_stretch);
        target()->PositionedAppend(Slice(zeros, length), from, options, debug).PermitUncheckedError();
        padded_end_ = from + length;
    }
};

class PaddingFileSystem final : public FileSystemWrapper {
public:
    PaddingFileSystem() : FileSystemWrapper(FileSystem::Default()) {}

    const char *Name() const override { return "PaddingFileSystem"; }

    IOStatus NewWritableFile(
        const std::string &path, const FileOptions &options, std::unique_ptr<FSWritableFile> *file,
        IODebugContext *debug) override {
        const IOStatus status = target()->NewWritableFile(path, options, file, debug);
        if (status.ok() && Slice(path).ends_with(".log")) *file = std::make_unique<PaddedFile>(std::move(*file));
        return status;
    }
};

}  // namespace

Env *padding_env() {
    // Never freed: threads of RocksDB may still use it while the process ends.
    static Env *env = NewCompositeEnv(std::make_shared<PaddingFileSystem>()).release();
    return env;
}
