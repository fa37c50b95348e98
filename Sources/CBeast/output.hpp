// Internal to CBeast. What waits to be sent over a WebSocket: bytes of its own, and frames that many share.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "bytes.hpp"
#include "frames.hpp"

namespace cb {
class Output {
public:
    Output() = default;
    Output(const Output &) = delete;
    Output &operator=(const Output &) = delete;
    ~Output() { clear(); }

    size_t count() const { return own_.count() + shared_count_; }

    uint8_t *append(size_t count) {
        if (first_ < pieces_.size()) {
            if (pieces_.back().frame) pieces_.push_back({});
            pieces_.back().count += count;
        }
        return own_.append(count);
    }

    void append(std::string_view bytes) {
        if (!bytes.empty()) std::memcpy(append(bytes.size()), bytes.data(), bytes.size());
    }

    /// Sends `bytes`, which are a part of `frame` that lives as long as that.
    void append_shared(cb_frame *frame, std::string_view bytes) {
        // A copy of little costs less than counting a reference that other threads count too.
        if (bytes.size() <= copied_max) return append(bytes);
        if (first_ == pieces_.size() && own_.count() > 0) pieces_.push_back({nullptr, nullptr, own_.count()});
        frame->retain();
        pieces_.push_back({frame, bytes.data(), bytes.size()});
        shared_count_ += bytes.size();
    }

    /// The first bytes, in as many parts as `parts` has room for; gives how many it has filled.
    int front(iovec *parts, int room) const {
        if (first_ == pieces_.size()) {
            parts[0] = {const_cast<uint8_t *>(own_.data()), own_.count()};
            return 1;
        }
        int n = 0;
        const uint8_t *own = own_.data();
        for (size_t i = first_; i < pieces_.size() && n < room; i++) {
            auto &piece = pieces_[i];
            parts[n++] = {const_cast<void *>(piece.frame ? (const void *)piece.bytes : own), piece.count};
            if (!piece.frame) own += piece.count;
        }
        return n;
    }

    void drop_first(size_t count) {
        while (first_ < pieces_.size() && count > 0) {
            auto &piece = pieces_[first_];
            size_t n = std::min(count, piece.count);
            count -= n;
            piece.count -= n;
            if (piece.frame) {
                piece.bytes += n;
                shared_count_ -= n;
            } else {
                own_.drop_first(n);
            }
            if (piece.count > 0) break;
            if (piece.frame) piece.frame->release();
            first_++;
        }
        if (first_ >= 64 && first_ * 2 >= pieces_.size()) {
            pieces_.erase(pieces_.begin(), pieces_.begin() + ptrdiff_t(first_));
            first_ = 0;
        }
        if (count > 0) own_.drop_first(count);
        if (this->count() == 0) clear();
    }

    /// Gives the memory back too: a connection that waits holds none.
    void clear() {
        for (size_t i = first_; i < pieces_.size(); i++) {
            if (pieces_[i].frame) pieces_[i].frame->release();
        }
        pieces_ = {};
        first_ = 0;
        shared_count_ = 0;
        own_.clear();
    }

private:
    struct Piece {
        cb_frame *frame = nullptr;  // null for bytes of `own_`
        const char *bytes = nullptr;
        size_t count = 0;
    };
    static constexpr size_t copied_max = 1024;

    Bytes own_;
    // Empty as long as there are only bytes of its own.
    std::vector<Piece> pieces_;
    size_t first_ = 0;
    size_t shared_count_ = 0;
};
}  // namespace cb
