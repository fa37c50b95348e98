// Internal to CBeast. permessage-deflate (RFC 7692): what is agreed on, and what deflates and inflates messages.
#pragma once

#include <boost/beast/zlib/deflate_stream.hpp>
#include <boost/beast/zlib/inflate_stream.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "cbeast.h"

namespace cb {
/// What two sides agreed on, seen from this one.
struct DeflateTerms {
    bool is_agreed = false;
    // Of what this side sends, and of what it receives.
    bool keeps_context_out = false;
    bool keeps_context_in = false;
    int window_bits_out = 15;
    int window_bits_in = 15;
};

/// What a server answers to the offers of a client (all of the header's values, joined with commas); `answer` is the
/// value of its own header. Without one that it can keep within its bounds, messages are not deflated.
DeflateTerms accept_deflate(const std::string &offers, const cb_websocket_options &options, std::string &answer);
/// What a client offers.
std::string offer_deflate(const cb_websocket_options &options);
/// Reads a server's answer to that; false if it is none.
bool read_deflate_answer(const std::string &answer, const cb_websocket_options &options, DeflateTerms &terms);

/// Beast's inflater, which can go on behind a last block and know what came before it.
class InflateStream : boost::beast::zlib::detail::inflate_stream {
public:
    explicit InflateStream(int window_bits) { doReset(window_bits); }
    void write(boost::beast::zlib::z_params &step, boost::beast::error_code &error) {
        doWrite(step, boost::beast::zlib::Flush::sync, error);
    }
    /// Another row of blocks begins, at the next byte.
    void begin_anew();
};

/// Inflates the messages of one connection. Between messages it holds memory (some 40 KiB) only if contexts are kept.
class Inflater {
public:
    Inflater(bool keeps_context, int window_bits) : keeps_context_(keeps_context), window_bits_(window_bits) {}
    /// Before the first bytes of a message.
    bool begin();
    /// Appends what comes out to `message`, to which it adds no more than that it has `max` bytes; 0 or a close code.
    int add(std::string_view part, bool is_last, std::string &message, size_t max);

private:
    const bool keeps_context_;
    const int window_bits_;
    std::unique_ptr<InflateStream> stream_;

    int inflate(std::string_view part, std::string &message, size_t max);
};

/// Deflates messages: those of one connection, or one by one those of a whole thread. It holds up to 270 KiB.
class Deflater {
public:
    Deflater(bool keeps_context, int window_bits, int level);
    /// Appends the deflated message to `out`.
    bool add(std::string_view message, std::string &out);
    /// One without a context and with the largest window, for everything that this thread sends.
    static Deflater &of_thread(int level);

private:
    const bool keeps_context_;
    boost::beast::zlib::deflate_stream stream_;
};
}  // namespace cb
