// Internal to CBeast. The frames of RFC 6455: what reads messages out of them, and what writes them.
//
// Not Beast's websocket::stream: Docs/Decisions/0021-own-websocket-frames.md says why. What checks UTF-8, masks, and
// deflates is Beast's.
#pragma once

#include <array>
#include <atomic>
#include <boost/beast/websocket/detail/utf8_checker.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "cbeast.h"
#include "deflate.hpp"

namespace cb {
enum class Opcode : uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

namespace close_code {
inline constexpr int none = 1005, lost = 1006, protocol = 1002, unsupported = 1003, bad_data = 1007, policy = 1008,
                     too_big = 1009, going_away = 1001, internal = 1011, try_again_later = 1013;
}  // namespace close_code

inline constexpr size_t control_max = 125;
inline constexpr size_t header_max = 14;

/// Whether a close frame may have it.
bool is_close_code(int code);
bool is_utf8(std::string_view text);
/// Writes a frame's header, without a mask but with room for its bit, and gives its length.
size_t write_header(uint8_t *out, Opcode opcode, bool is_deflated, bool is_masked, size_t count);

/// Reads messages and control frames out of what comes. It holds nothing between messages but what deflating keeps.
class MessageReader {
public:
    enum class Step : uint8_t { more, message, ping, pong, close, failed };

    // What `next` has found, until its next call or `drop_message`.
    bool is_text = false;
    std::string_view payload;
    int close_code = 0;

    /// `masked`: whether what comes must be masked, or must not be. Without `inflater` no message may be deflated.
    MessageReader(bool masked, size_t message_max, bool refuses_messages)
        : masked_(masked), message_max_(message_max), refuses_messages_(refuses_messages) {}
    void use(std::unique_ptr<Inflater> inflater) { inflater_ = std::move(inflater); }

    /// Goes on at `at`, which it moves, and unmasks in place. Not again once it has failed.
    Step next(char *&at, char *end);
    /// Whether a message or a frame has begun and has not come to its end.
    bool is_inside() const { return in_message_ || in_frame_ || header_count_ > 0; }
    /// The message that was found has been taken: a connection that waits holds no buffer.
    void drop_message() { message_ = {}; }

private:
    const bool masked_;
    const size_t message_max_;
    const bool refuses_messages_;
    std::unique_ptr<Inflater> inflater_;

    uint8_t header_[header_max];
    uint8_t header_count_ = 0;
    bool in_frame_ = false;
    bool is_final_ = false;
    Opcode opcode_ = Opcode::text;
    std::array<unsigned char, 4> key_{};
    uint64_t left_ = 0;

    bool in_message_ = false;
    bool is_deflated_ = false;
    std::string message_;
    char control_[control_max];
    uint8_t control_count_ = 0;
    boost::beast::websocket::detail::utf8_checker utf8_;

    bool is_control() const { return uint8_t(opcode_) >= 8; }
    Step fail(int code);
    bool read_header(char *&at, char *end);
    Step begin_frame();
    Step take_control(std::string_view part);
    Step finish_close(std::string_view whole);
    Step take_data(std::string_view part);
    Step finish_message(std::string_view whole);
    bool is_good_text(std::string_view part);
};
}  // namespace cb

struct cb_frame {
    const bool is_text;

    cb_frame(bool is_text, std::string_view payload);
    void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }
    /// Header and payload, without a mask.
    std::string_view plain() const { return plain_; }
    std::string_view payload() const { return std::string_view(plain_).substr(header_count_); }
    /// The same deflated, without a context; made once. Empty if that is no shorter.
    std::string_view deflated(int level);

private:
    std::atomic<int> references_{1};
    size_t header_count_;
    std::string plain_;
    std::once_flag once_;
    std::string deflated_;
};
