#include "frames.hpp"

#include <algorithm>
#include <boost/beast/websocket/detail/mask.hpp>
#include <cstring>

namespace websocket = boost::beast::websocket;

namespace cb {
bool is_close_code(int code) {
    // 1004 has no meaning, 1005, 1006 and 1015 are never sent; 1016…2999 belong to later versions of the protocol.
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

bool is_utf8(std::string_view text) {
    websocket::detail::utf8_checker checker;
    return checker.write(reinterpret_cast<const uint8_t *>(text.data()), text.size()) && checker.finish();
}

size_t write_header(uint8_t *out, Opcode opcode, bool is_deflated, bool is_masked, size_t count) {
    uint8_t mask = is_masked ? 0x80 : 0;
    out[0] = uint8_t(0x80 | (is_deflated ? 0x40 : 0) | uint8_t(opcode));
    if (count < 126) {
        out[1] = uint8_t(mask | count);
        return 2;
    }
    int bytes = count <= 0xffff ? 2 : 8;
    out[1] = uint8_t(mask | (bytes == 2 ? 126 : 127));
    for (int i = 0; i < bytes; i++) out[2 + i] = uint8_t(uint64_t(count) >> (8 * (bytes - 1 - i)));
    return size_t(2 + bytes);
}

// MARK: Reading

MessageReader::Step MessageReader::fail(int code) {
    close_code = code;
    message_ = {};
    return Step::failed;
}

MessageReader::Step MessageReader::next(char *&at, char *end) {
    while (true) {
        if (!in_frame_) {
            if (!read_header(at, end)) return Step::more;
            if (auto step = begin_frame(); step != Step::more) return step;
        }
        if (at == end && left_ > 0) return Step::more;
        size_t count = size_t(std::min<uint64_t>(left_, uint64_t(end - at)));
        if (masked_) websocket::detail::mask_inplace(boost::asio::mutable_buffer(at, count), key_);
        std::string_view part(at, count);
        at += count;
        left_ -= count;
        if (left_ == 0) in_frame_ = false;
        auto step = is_control() ? take_control(part) : take_data(part);
        if (step != Step::more) return step;
    }
}

/// Whether all of it has come.
bool MessageReader::read_header(char *&at, char *end) {
    auto needed = [this] {
        if (header_count_ < 2) return 2;
        int length = header_[1] & 0x7f;
        return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (header_[1] & 0x80 ? 4 : 0);
    };
    while (header_count_ < needed()) {
        if (at == end) return false;
        header_[header_count_++] = uint8_t(*at++);
    }
    return true;
}

MessageReader::Step MessageReader::begin_frame() {
    header_count_ = 0;
    opcode_ = Opcode(header_[0] & 0x0f);
    is_final_ = header_[0] & 0x80;
    bool is_marked = header_[0] & 0x40;
    if (header_[0] & 0x30) return fail(close_code::protocol);
    if (bool(header_[1] & 0x80) != masked_) return fail(close_code::protocol);
    uint64_t count = header_[1] & 0x7f;
    size_t at = 2;
    if (count > control_max) {
        size_t bytes = count == 126 ? 2 : 8;
        count = 0;
        for (size_t i = 0; i < bytes; i++) count = count << 8 | header_[at++];
        // The shortest form is the only one.
        if (count < (bytes == 2 ? 126u : 0x10000u) || count >> 63) return fail(close_code::protocol);
    }
    if (masked_) std::memcpy(key_.data(), header_ + at, 4);
    left_ = count;
    in_frame_ = true;
    switch (opcode_) {
        case Opcode::close:
        case Opcode::ping:
        case Opcode::pong:
            if (!is_final_ || is_marked || count > control_max) return fail(close_code::protocol);
            return Step::more;
        case Opcode::continuation:
            if (!in_message_ || is_marked) return fail(close_code::protocol);
            break;
        case Opcode::text:
        case Opcode::binary:
            if (in_message_ || (is_marked && !inflater_)) return fail(close_code::protocol);
            if (refuses_messages_) return fail(close_code::unsupported);
            in_message_ = true;
            is_text = opcode_ == Opcode::text;
            is_deflated_ = is_marked;
            utf8_.reset();
            if (is_deflated_ && !inflater_->begin()) return fail(close_code::internal);
            break;
        default: return fail(close_code::protocol);
    }
    if (!is_deflated_ && count > message_max_ - message_.size()) return fail(close_code::too_big);
    return Step::more;
}

MessageReader::Step MessageReader::take_control(std::string_view part) {
    std::memcpy(control_ + control_count_, part.data(), part.size());
    control_count_ = uint8_t(control_count_ + part.size());
    if (left_ > 0) return Step::more;
    payload = {control_, control_count_};
    control_count_ = 0;
    if (opcode_ == Opcode::close) return finish_close(payload);
    return opcode_ == Opcode::ping ? Step::ping : Step::pong;
}

MessageReader::Step MessageReader::finish_close(std::string_view whole) {
    close_code = close_code::none;
    if (whole.empty()) return Step::close;
    if (whole.size() == 1) return fail(close_code::protocol);
    int code = uint8_t(whole[0]) << 8 | uint8_t(whole[1]);
    if (!is_close_code(code)) return fail(close_code::protocol);
    if (!is_utf8(whole.substr(2))) return fail(close_code::bad_data);
    close_code = code;
    payload = whole.substr(2);
    return Step::close;
}

MessageReader::Step MessageReader::take_data(std::string_view part) {
    bool is_whole = left_ == 0 && is_final_;
    if (!is_deflated_) {
        if (!is_good_text(part)) return fail(close_code::bad_data);
        // Most messages are one frame, and that came at once.
        if (is_whole && message_.empty()) return finish_message(part);
        message_ += part;
        return is_whole ? finish_message(message_) : Step::more;
    }
    size_t before = message_.size();
    int code = inflater_->add(part, is_whole, message_, message_max_);
    if (code != 0) return fail(code);
    if (!is_good_text(std::string_view(message_).substr(before))) return fail(close_code::bad_data);
    return is_whole ? finish_message(message_) : Step::more;
}

MessageReader::Step MessageReader::finish_message(std::string_view whole) {
    if (is_text && !utf8_.finish()) return fail(close_code::bad_data);
    in_message_ = false;
    payload = whole;
    return Step::message;
}

/// Fails at the first byte that no other can mend.
bool MessageReader::is_good_text(std::string_view part) {
    return !is_text || utf8_.write(reinterpret_cast<const uint8_t *>(part.data()), part.size());
}
}  // namespace cb

// MARK: Frames that are sent many times

cb_frame::cb_frame(bool text, std::string_view payload) : is_text(text) {
    uint8_t header[cb::header_max];
    header_count_ = cb::write_header(
        header, text ? cb::Opcode::text : cb::Opcode::binary, false, false, payload.size());
    plain_.reserve(header_count_ + payload.size());
    plain_.append(reinterpret_cast<char *>(header), header_count_).append(payload);
}

std::string_view cb_frame::deflated(int level) {
    std::call_once(once_, [&] {
        std::string body;
        if (!cb::Deflater::of_thread(level).add(payload(), body) || body.size() >= payload().size()) return;
        uint8_t header[cb::header_max];
        size_t count =
            cb::write_header(header, is_text ? cb::Opcode::text : cb::Opcode::binary, true, false, body.size());
        deflated_.reserve(count + body.size());
        deflated_.append(reinterpret_cast<char *>(header), count).append(body);
    });
    return deflated_;
}

extern "C" {
cb_frame *cb_frame_new(bool is_text, const void *bytes, size_t count) {
    return new cb_frame(is_text, {static_cast<const char *>(bytes), count});
}
void cb_frame_release(cb_frame *frame) { frame->release(); }
}
