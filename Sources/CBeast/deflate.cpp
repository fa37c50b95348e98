#include "deflate.hpp"

#include <boost/beast/http/rfc7230.hpp>
#include <map>
#include <optional>

#include "exchange.hpp"
#include "frames.hpp"

namespace http = boost::beast::http;
namespace zlib = boost::beast::zlib;

namespace cb {
// MARK: What is agreed on

namespace {
/// The parameters of one permessage-deflate.
struct Parameters {
    bool server_no_context = false;
    bool client_no_context = false;
    std::optional<int> server_bits;
    /// 0: named without a number, which only an offer may.
    std::optional<int> client_bits;

    /// False if one of them is unknown, wrong or there twice.
    bool take(std::string_view name, std::string_view value) {
        if (name == "server_no_context_takeover") return value.empty() && !std::exchange(server_no_context, true);
        if (name == "client_no_context_takeover") return value.empty() && !std::exchange(client_no_context, true);
        if (name == "server_max_window_bits") return take_bits(value, false, server_bits);
        if (name == "client_max_window_bits") return take_bits(value, true, client_bits);
        return false;
    }

private:
    static bool take_bits(std::string_view value, bool may_be_bare, std::optional<int> &bits) {
        if (bits) return false;
        if (value.empty()) {
            bits = 0;
            return may_be_bare;
        }
        int number = value == "8" ? 8 : value == "9" ? 9 : 0;
        if (value.size() == 2 && value[0] == '1' && value[1] >= '0' && value[1] <= '5') number = 10 + value[1] - '0';
        bits = number;
        return number != 0;
    }
};

/// Calls `take` with each well-formed permessage-deflate, until it gives true; gives whether it did.
template <typename Take>
bool any_deflate(const std::string &text, Take take) {
    for (auto const &extension : http::ext_list(text)) {
        if (!equals_ignoring_case({extension.first.data(), extension.first.size()}, "permessage-deflate")) continue;
        Parameters parameters;
        bool is_good = true;
        for (auto const &parameter : extension.second) {
            is_good &= parameters.take(
                {parameter.first.data(), parameter.first.size()}, {parameter.second.data(), parameter.second.size()});
        }
        if (is_good && take(parameters)) return true;
    }
    return false;
}
}  // namespace

DeflateTerms accept_deflate(const std::string &offers, const cb_websocket_options &options, std::string &answer) {
    DeflateTerms terms;
    if (!options.deflates) return terms;
    any_deflate(offers, [&](const Parameters &offer) {
        // 8 bits cannot be deflated to by this library, as by zlib.
        if (offer.server_bits && *offer.server_bits < 9) return false;
        // A client that says nothing of its window uses the largest.
        if (!offer.client_bits && options.window_bits < 15) return false;
        terms.is_agreed = true;
        terms.keeps_context_out = options.keeps_context && !offer.server_no_context;
        terms.keeps_context_in = options.keeps_context && !offer.client_no_context;
        terms.window_bits_out = std::min(options.window_bits, offer.server_bits.value_or(15));
        int wanted = offer.client_bits.value_or(15) == 0 ? 15 : offer.client_bits.value_or(15);
        terms.window_bits_in = std::min(options.window_bits, std::max(wanted, 9));
        answer = "permessage-deflate";
        if (!terms.keeps_context_out) answer += "; server_no_context_takeover";
        if (!terms.keeps_context_in) answer += "; client_no_context_takeover";
        // Who asks for it has to be told, whatever it is.
        if (offer.server_bits || terms.window_bits_out < 15)
            answer += "; server_max_window_bits=" + std::to_string(terms.window_bits_out);
        if (offer.client_bits && std::min(wanted, options.window_bits) < 15)
            answer += "; client_max_window_bits=" + std::to_string(std::min(wanted, options.window_bits));
        return true;
    });
    return terms;
}

std::string offer_deflate(const cb_websocket_options &options) {
    if (!options.deflates) return {};
    std::string offer = "permessage-deflate; client_max_window_bits";
    if (options.window_bits < 15) offer += "; server_max_window_bits=" + std::to_string(options.window_bits);
    if (!options.keeps_context) offer += "; server_no_context_takeover; client_no_context_takeover";
    return offer;
}

bool read_deflate_answer(const std::string &answer, const cb_websocket_options &options, DeflateTerms &terms) {
    auto list = http::ext_list(answer);
    if (!options.deflates || std::distance(list.begin(), list.end()) != 1) return false;
    return any_deflate(answer, [&](const Parameters &agreed) {
        int out = agreed.client_bits.value_or(15), in = agreed.server_bits.value_or(15);
        if (out < 9 || in > options.window_bits || (!options.keeps_context && !agreed.server_no_context)) return false;
        terms.is_agreed = true;
        terms.keeps_context_out = options.keeps_context && !agreed.client_no_context;
        terms.keeps_context_in = !agreed.server_no_context;
        terms.window_bits_out = std::min(out, options.window_bits);
        terms.window_bits_in = std::max(in, 9);
        return true;
    });
}

// MARK: Inflating

namespace {
// Beast has no call that begins a stream and keeps the window. An explicit instantiation may name what is private.
using zlib::detail::window;
template <window zlib::detail::inflate_stream::*member>
struct WindowOf {
    friend window &window_of(zlib::detail::inflate_stream &stream) { return stream.*member; }
};
window &window_of(zlib::detail::inflate_stream &stream);
template struct WindowOf<&zlib::detail::inflate_stream::w_>;
}  // namespace

void InflateStream::begin_anew() {
    auto kept = std::move(window_of(*this));
    doReset(kept.bits());
    window_of(*this) = std::move(kept);
}

bool Inflater::begin() {
    if (stream_) return true;
    stream_ = std::make_unique<InflateStream>(window_bits_);
    return true;
}

int Inflater::add(std::string_view part, bool is_last, std::string &message, size_t max) {
    int code = inflate(part, message, max);
    if (!is_last) return code;
    // What a deflater ends each message with, and does not send.
    if (code == 0) code = inflate({"\x00\x00\xff\xff", 4}, message, max);
    if (!keeps_context_) stream_.reset();
    return code;
}

int Inflater::inflate(std::string_view part, std::string &message, size_t max) {
    char room[16 * 1024];
    zlib::z_params step{};
    step.next_in = part.data();
    step.avail_in = part.size();
    while (true) {
        step.next_out = room;
        step.avail_out = sizeof room;
        boost::beast::error_code error;
        stream_->write(step, error);
        size_t count = sizeof room - step.avail_out;
        if (count > max - message.size()) return close_code::too_big;
        message.append(room, count);
        if (error == zlib::error::end_of_stream) {
            // A last block, though more may follow (RFC 7692, 7.2.1 and 7.2.3.4), which may refer to what came before.
            stream_->begin_anew();
            if (step.avail_in == 0) return 0;
            continue;
        }
        if (error && error != zlib::error::need_buffers) return close_code::bad_data;
        if (step.avail_in == 0 && step.avail_out > 0) return 0;
        if (error) return step.avail_in == 0 ? 0 : close_code::bad_data;
    }
}

// MARK: Deflating

Deflater::Deflater(bool keeps_context, int window_bits, int level) : keeps_context_(keeps_context) {
    stream_.reset(level, window_bits, 8, zlib::Strategy::normal);
}

Deflater &Deflater::of_thread(int level) {
    thread_local std::map<int, Deflater> all;
    return all.try_emplace(level, false, 15, level).first->second;
}

bool Deflater::add(std::string_view message, std::string &out) {
    // RFC 7692, 7.2.3.6. Two flushes with nothing between them would give nothing.
    if (message.empty()) {
        out += '\0';
        return true;
    }
    char room[16 * 1024];
    zlib::z_params step{};
    step.next_in = message.data();
    step.avail_in = message.size();
    do {
        step.next_out = room;
        step.avail_out = sizeof room;
        boost::beast::error_code error;
        stream_.write(step, zlib::Flush::sync, error);
        if (error && error != zlib::error::need_buffers) return false;
        out.append(room, sizeof room - step.avail_out);
    } while (step.avail_out == 0 || step.avail_in > 0);
    if (!keeps_context_) stream_.reset();
    // 00 00 FF FF, which the other side knows.
    if (out.size() < 4) return false;
    out.resize(out.size() - 4);
    return true;
}
}  // namespace cb
