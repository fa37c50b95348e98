// Internal to CBeast. The chunked transfer coding of a request's body.
//
// Not Beast's: it tolerates line ends and extensions that proxies read in another way.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cb {
class ChunkDecoder {
public:
    /// Appends data to `body` and gives how many bytes it used; stops behind the end and at a mistake.
    size_t feed(std::string_view bytes, std::string &body, size_t body_max, size_t trailers_max);
    bool is_done() const { return state_ == State::done; }
    /// The status to refuse the body with, or 0.
    int status() const { return status_; }
    const char *detail() const { return detail_; }

private:
    enum class State : uint8_t {
        size_first, size, extension, size_end, data, data_cr, data_lf, trailer_first, trailer_name, trailer_value,
        trailer_lf, end_lf, done, failed
    };
    static constexpr size_t extensions_max = 4096;

    State state_ = State::size_first;
    uint8_t digits_ = 0;
    uint64_t left_ = 0;
    size_t extensions_ = 0;
    size_t trailers_ = 0;
    int status_ = 0;
    const char *detail_ = nullptr;

    void take(unsigned char c, size_t body_count, size_t body_max);
    void fail(int status, const char *detail);
};
}  // namespace cb
