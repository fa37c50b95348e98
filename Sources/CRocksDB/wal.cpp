// Tells a write that a crash tore from damage, which RocksDB's recovery modes do not: the one that tolerates a torn
// end takes a damaged length in the last block for the end too and drops what follows; the strict one refuses both.
//
// The format (RocksDB's wiki, "Write Ahead Log File Format"): blocks of 32 KiB; in them fragments of a masked
// CRC-32C (4), a length (2), a type (1: full 1, first 2, middle 3, last 4) and the payload, little-endian; fewer than
// 7 bytes at a block's end are zeros. Recycled logs have other types; no database of ours is opened with them.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "internal.h"

namespace {

constexpr size_t block_size = 32 * 1024;
constexpr size_t header_size = 7;

struct File {
    uint64_t number;
    std::string path;
};

std::vector<File> wal_files(const std::string &folder) {
    std::vector<File> files;
    for (const auto &entry : std::filesystem::directory_iterator(folder)) {
        const std::string name = entry.path().filename().string();
        if (name.size() < 5 || name.substr(name.size() - 4) != ".log") continue;
        const std::string digits = name.substr(0, name.size() - 4);
        if (digits.size() > 19 || digits.find_first_not_of("0123456789") != std::string::npos) continue;
        files.push_back({std::stoull(digits), entry.path().string()});
    }
    std::sort(files.begin(), files.end(), [](const File &a, const File &b) { return a.number < b.number; });
    return files;
}

bool read_whole(const std::string &path, std::vector<uint8_t> &bytes) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    struct stat facts;
    bool good = fstat(file, &facts) == 0;
    if (good) bytes.resize(static_cast<size_t>(facts.st_size));
    for (size_t done = 0; good && done < bytes.size();) {
        const ssize_t count = read(file, bytes.data() + done, bytes.size() - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) good = false;
        if (count <= 0) break;
        done += static_cast<size_t>(count);
    }
    const int error = errno;
    close(file);
    errno = error;
    return good;
}

uint32_t little_endian_32(const uint8_t *data) {
    return data[0] | data[1] << 8 | data[2] << 16 | static_cast<uint32_t>(data[3]) << 24;
}

uint64_t little_endian_64(const uint8_t *data) {
    return little_endian_32(data) | static_cast<uint64_t>(little_endian_32(data + 4)) << 32;
}

uint32_t unmasked(uint32_t crc) {
    const uint32_t rotated = crc - 0xa282ead8u;
    return rotated >> 17 | rotated << 15;
}

// The length with its header of the valid fragment at `at`; 0 if there is none. It never crosses its block.
size_t fragment(const std::vector<uint8_t> &bytes, size_t at) {
    const size_t block_end = std::min(bytes.size(), (at / block_size + 1) * block_size);
    if (at + header_size > block_end) return 0;
    const uint8_t *header = bytes.data() + at;
    const size_t length = header[4] | header[5] << 8;
    if (header[6] < 1 || header[6] > 4 || at + header_size + length > block_end) return 0;
    const uint32_t crc = crocks_crc32c(0, {header + 6, 1 + length});
    return crc == unmasked(little_endian_32(header)) ? header_size + length : 0;
}

bool all_zero(const std::vector<uint8_t> &bytes, size_t from, size_t to) {
    return std::all_of(bytes.begin() + from, bytes.begin() + to, [](uint8_t byte) { return byte == 0; });
}

struct Walk {
    // Where the whole records end.
    size_t good_end = 0;
    // Where the first byte stands that is not as it was written; the size of the file if there is none.
    size_t bad_at = 0;
    bool has_records = false;
    uint64_t first_sequence = 0;
    uint64_t next_sequence = 0;
};

// Goes through the records from the start to the first that is not whole.
Walk walk(const std::vector<uint8_t> &bytes) {
    Walk result;
    size_t at = 0;
    bool is_open = false;
    std::vector<uint8_t> begin;
    while (at < bytes.size()) {
        const size_t block_end = std::min(bytes.size(), (at / block_size + 1) * block_size);
        if (block_end - at < header_size && block_end % block_size == 0) {
            if (!all_zero(bytes, at, block_end)) break;
            at = block_end;
            if (!is_open) result.good_end = at;
            continue;
        }
        const size_t length = fragment(bytes, at);
        if (length == 0) break;
        const uint8_t type = bytes[at + 6];
        if ((type == 1 || type == 2) == is_open) break;
        if (!is_open) begin.clear();
        // Sequence number (8) and count (4) stand at the beginning of a batch.
        for (size_t index = header_size; index < length && begin.size() < 12; index++)
            begin.push_back(bytes[at + index]);
        is_open = type == 2 || type == 3;
        at += length;
        if (is_open) continue;
        result.good_end = at;
        if (begin.size() < 12) continue;
        const uint64_t sequence = little_endian_64(begin.data());
        if (!result.has_records) result.first_sequence = sequence;
        result.has_records = true;
        result.next_sequence = sequence + little_endian_32(begin.data() + 8);
    }
    result.bad_at = at;
    return result;
}

// Whether a valid fragment stands anywhere behind `from`: then what is damaged there is not the end.
//
// The log syncs every write before the next, so a crash tears one record at most; but its blocks may have come to the
// disk in any order, so what continues a record says nothing. Values are bytes of users and may look like fragments,
// so the beginning of a record is asked for more: a sequence number that follows those before it.
bool has_fragment_behind(const std::vector<uint8_t> &bytes, const Walk &found) {
    for (size_t at = found.bad_at + 1; at + header_size <= bytes.size(); at++) {
        const uint8_t type = bytes[at + 6];
        if (type < 1 || type > 2) continue;
        const size_t length = fragment(bytes, at);
        if (length == 0) continue;
        if (!found.has_records) return true;
        if (length < header_size + 12) continue;
        const uint64_t sequence = little_endian_64(bytes.data() + at + header_size);
        if (sequence >= found.next_sequence && sequence - found.next_sequence <= bytes.size()) return true;
    }
    return false;
}

crocks_status check(const std::string &folder, uint64_t *torn_bytes, char **torn_file) {
    std::error_code error;
    if (!std::filesystem::is_directory(folder, error)) return {crocks_ok, nullptr};
    bool is_torn = false;
    uint64_t expected = 0;
    std::string torn_path;
    for (const File &file : wal_files(folder)) {
        std::vector<uint8_t> bytes;
        if (!read_whole(file.path, bytes)) return failure(crocks_io, file.path + ": " + strerror(errno));
        const Walk found = walk(bytes);
        if (is_torn && found.has_records && found.first_sequence != expected) {
            return failure(
                crocks_corrupt, torn_path + " ends in the middle of a record, and the next file goes on behind it");
        }
        if (found.good_end == bytes.size() || all_zero(bytes, found.good_end, bytes.size())) {
            if (found.has_records) is_torn = false;
            continue;
        }
        if (has_fragment_behind(bytes, found)) {
            return failure(
                crocks_corrupt,
                file.path + " is damaged at byte " + std::to_string(found.bad_at) + ": whole records follow");
        }
        is_torn = true;
        torn_path = file.path;
        if (found.has_records) expected = found.next_sequence;
        *torn_bytes = bytes.size() - found.good_end;
        free(*torn_file);
        *torn_file = copied(file.path);
    }
    return {crocks_ok, nullptr};
}

}  // namespace

extern "C" crocks_status crocks_check_wal(const char *path, uint64_t *torn_bytes, char **torn_file) noexcept {
    *torn_bytes = 0;
    *torn_file = nullptr;
    return guarded([&] { return check(path, torn_bytes, torn_file); });
}
