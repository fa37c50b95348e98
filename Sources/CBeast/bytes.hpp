// Internal to CBeast. Bytes that come in at the end and go out at the beginning.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace cb {
/// Not a string: its growth would write zeros that are written over at once.
class Bytes {
public:
    Bytes() = default;
    Bytes(const Bytes &) = delete;
    Bytes &operator=(const Bytes &) = delete;
    ~Bytes() { std::free(data_); }

    size_t count() const { return end_ - begin_; }
    const uint8_t *data() const { return data_ + begin_; }

    /// Room for `count` bytes at the end, to be written before anything else is called.
    uint8_t *append(size_t count) {
        if (capacity_ - end_ < count) make_room(count);
        auto room = data_ + end_;
        end_ += count;
        return room;
    }

    void drop_first(size_t count) {
        begin_ += count;
        if (begin_ < end_) return;
        begin_ = end_ = 0;
        if (capacity_ > kept_capacity_max) clear();
    }

    void clear() {
        std::free(data_);
        data_ = nullptr;
        begin_ = end_ = capacity_ = 0;
    }

private:
    // More than a turn's small frames; a burst's memory is given back.
    static constexpr size_t kept_capacity_max = 256 * 1024;

    uint8_t *data_ = nullptr;
    size_t begin_ = 0;
    size_t end_ = 0;
    size_t capacity_ = 0;

    void make_room(size_t count) {
        // Once half of it is gone: so a byte is moved at most once for each time it is sent.
        if (begin_ > 0 && begin_ >= count && begin_ >= capacity_ / 2) {
            std::memmove(data_, data_ + begin_, end_ - begin_);
            end_ -= begin_;
            begin_ = 0;
            if (capacity_ - end_ >= count) return;
        }
        size_t wanted = capacity_ ? capacity_ * 2 : 4096;
        while (wanted - end_ < count) wanted *= 2;
        auto grown = static_cast<uint8_t *>(std::realloc(data_, wanted));
        if (!grown) throw std::bad_alloc();
        data_ = grown;
        capacity_ = wanted;
    }
};
}  // namespace cb
