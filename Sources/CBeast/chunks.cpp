#include "chunks.hpp"

#include <algorithm>

#include "characters.hpp"

namespace cb {
void ChunkDecoder::fail(int status, const char *detail) {
    state_ = State::failed;
    status_ = status;
    detail_ = detail;
}

size_t ChunkDecoder::feed(std::string_view bytes, std::string &body, size_t body_max, size_t trailers_max) {
    size_t at = 0;
    while (at < bytes.size() && state_ != State::done && state_ != State::failed) {
        if (state_ == State::data) {
            size_t n = size_t(std::min<uint64_t>(left_, bytes.size() - at));
            body.append(bytes.substr(at, n));
            at += n;
            left_ -= n;
            if (left_ == 0) state_ = State::data_cr;
            continue;
        }
        if (state_ >= State::trailer_first && ++trailers_ > trailers_max) {
            fail(431, "The trailer section is too long.");
            break;
        }
        take(static_cast<unsigned char>(bytes[at++]), body.size(), body_max);
    }
    return at;
}

void ChunkDecoder::take(unsigned char c, size_t body_count, size_t body_max) {
    switch (state_) {
        case State::size_first:
        case State::size: {
            int digit = hex_digit(c);
            if (digit >= 0) {
                // 16 digits are 64 bits; zeros in front count too, so that a size line has an end.
                if (++digits_ > 16) return fail(400, "A chunk's size has too many digits.");
                left_ = left_ << 4 | uint64_t(digit);
                state_ = State::size;
            } else if (state_ == State::size && c == '\r') {
                state_ = State::size_end;
            } else if (state_ == State::size && c == ';') {
                state_ = State::extension;
            } else {
                fail(400, "A chunk's size is not a hexadecimal number.");
            }
            return;
        }
        case State::extension:
            if (c == '\r') {
                state_ = State::size_end;
            } else if (!is_field_character(c)) {
                fail(400, "A chunk extension has a control character.");
            } else if (++extensions_ > extensions_max) {
                fail(400, "The chunk extensions are too long.");
            }
            return;
        case State::size_end:
            if (c != '\n') return fail(400, "A chunk's size line does not end with CRLF.");
            digits_ = 0;
            if (left_ == 0) {
                state_ = State::trailer_first;
            } else if (left_ > body_max || body_count > body_max - left_) {
                fail(413, "The body is too long.");
            } else {
                state_ = State::data;
            }
            return;
        case State::data_cr:
            if (c != '\r') return fail(400, "A chunk is not followed by CRLF.");
            state_ = State::data_lf;
            return;
        case State::data_lf:
            if (c != '\n') return fail(400, "A chunk is not followed by CRLF.");
            state_ = State::size_first;
            return;
        // Trailers are checked and dropped: merged into the headers they could say anything about the request.
        case State::trailer_first:
            if (c == '\r') {
                state_ = State::end_lf;
            } else if (is_token_character(c)) {
                state_ = State::trailer_name;
            } else {
                fail(400, "A trailer field is malformed.");
            }
            return;
        case State::trailer_name:
            if (c == ':') {
                state_ = State::trailer_value;
            } else if (!is_token_character(c)) {
                fail(400, "A trailer field is malformed.");
            }
            return;
        case State::trailer_value:
            if (c == '\r') {
                state_ = State::trailer_lf;
            } else if (!is_field_character(c)) {
                fail(400, "A trailer field is malformed.");
            }
            return;
        case State::trailer_lf:
            if (c != '\n') return fail(400, "A trailer field does not end with CRLF.");
            state_ = State::trailer_first;
            return;
        case State::end_lf:
            if (c != '\n') return fail(400, "The trailer section does not end with CRLF.");
            state_ = State::done;
            return;
        case State::data:
        case State::done:
        case State::failed: return;
    }
}
}  // namespace cb
