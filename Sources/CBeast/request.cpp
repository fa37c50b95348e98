// Finds and reads a request's header section.
//
// Beast parses it, but lets through much that another HTTP implementation on the way may read in another way (request
// smuggling): so every line is checked here first, byte by byte, and what the fields say about the body's length after.
#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <cstring>

#include "acceptor.hpp"
#include "characters.hpp"
#include "exchange.hpp"

namespace http = boost::beast::http;

namespace cb {
namespace {
// Longer than any registered method.
constexpr size_t method_max = 32;
// " HTTP/1.1" and CRLF
constexpr size_t version_count = 11;
}  // namespace

bool is_token(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return is_token_character(c); });
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); i++) {
        auto lower = [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; };
        if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
}

HeadScan::Result HeadScan::fail(int with, const char *why) {
    status = with;
    detail = why;
    return Result::failed;
}

HeadScan::Result HeadScan::advance(std::string_view bytes, const cb_server_options &limits) {
    while (scanned < bytes.size()) {
        auto found = static_cast<const char *>(memchr(bytes.data() + scanned, '\n', bytes.size() - scanned));
        if (!found) break;
        size_t at = size_t(found - bytes.data());
        if (at == line_start || bytes[at - 1] != '\r') return fail(400, "A line does not end with CRLF.");
        bool is_empty = at - line_start == 1;
        scanned = line_start = at + 1;
        if (request_line == 0) {
            request_line = at + 1;
            if (is_empty) return fail(400, "The request line is empty.");
        } else if (at + 1 - request_line > limits.header_section_max + 2) {
            return fail(431, "The header section is too long.");
        } else if (is_empty) {
            end = at + 1;
            return Result::complete;
        } else if (++headers > limits.header_count_max) {
            return fail(431, "There are too many header fields.");
        }
    }
    scanned = bytes.size();
    return check_incomplete_line(bytes, limits);
}

HeadScan::Result HeadScan::check_incomplete_line(std::string_view bytes, const cb_server_options &limits) {
    if (request_line > 0) {
        if (bytes.size() - request_line > limits.header_section_max + 2)
            return fail(431, "The header section is too long.");
        return Result::more;
    }
    // Without its end: only whether it can still become a request line.
    size_t space = bytes.substr(0, method_max + 1).find(' ');
    if (space == std::string_view::npos)
        return bytes.size() > method_max ? fail(400, "The method is too long.") : Result::more;
    if (bytes.size() > space + 1 + limits.target_max + version_count)
        return fail(414, "The request target is too long.");
    return Result::more;
}

namespace {
/// Beast's parser, with the fields kept as places in the header section.
class Reader final : public http::basic_parser<true> {
public:
    cb_exchange &exchange;
    int hosts = 0, lengths = 0, codings = 0;
    bool is_misplaced = false, is_coding_chunked = true, is_expectation_known = true, is_length_good = true;
    bool is_host_good = true;
    std::string_view length;

    explicit Reader(cb_exchange &e) : exchange(e) {
        header_limit(UINT32_MAX);  // checked before
        body_limit(boost::none);   // checked after
    }

private:
    using text = boost::beast::string_view;
    using error = boost::beast::error_code;

    Span place(text part) {
        auto at = part.data() - exchange.head.data();
        if (at < 0 || size_t(at) + part.size() > exchange.head.size()) {
            if (!part.empty()) is_misplaced = true;
            return {0, 0};
        }
        return {uint32_t(at), uint32_t(part.size())};
    }

    void on_request_impl(http::verb verb, text method, text target, int version, error &) override {
        exchange.method = place(method);
        exchange.target = place(target);
        exchange.is_http10 = version == 10;
        exchange.is_head = verb == http::verb::head;
    }

    void on_field_impl(http::field field, text name, text value, error &) override {
        exchange.fields.push_back({place(name), place(value)});
        std::string_view v(value.data(), value.size());
        switch (field) {
            case http::field::host:
                hosts++;
                is_host_good = std::all_of(v.begin(), v.end(), [](char c) { return is_host_character(c); });
                break;
            case http::field::content_length:
                lengths++;
                // At most 18 digits: far below what 64 bits hold.
                is_length_good = !v.empty() && v.size() <= 18 &&
                                 std::all_of(v.begin(), v.end(), [](char c) { return c >= '0' && c <= '9'; });
                length = v;
                break;
            case http::field::transfer_encoding:
                codings++;
                is_coding_chunked = equals_ignoring_case(v, "chunked");
                break;
            case http::field::expect:
                is_expectation_known &= equals_ignoring_case(v, "100-continue");
                exchange.expects_continue = true;
                break;
            default: break;
        }
    }

    void on_response_impl(int, text, int, error &) override {}
    void on_header_impl(error &) override {}
    void on_body_init_impl(boost::optional<uint64_t> const &, error &) override {}
    size_t on_body_impl(text, error &) override { return 0; }
    void on_chunk_header_impl(uint64_t, text, error &) override {}
    size_t on_chunk_body_impl(uint64_t, text, error &) override { return 0; }
    void on_finish_impl(error &) override {}
};

bool is_field_line(std::string_view line) {
    size_t i = 0;
    while (i < line.size() && is_token_character(line[i])) i++;
    // An empty name, a space before the colon, a folded line and a line without a colon all end here.
    if (i == 0 || i == line.size() || line[i] != ':') return false;
    for (i++; i < line.size(); i++) {
        if (!is_field_character(line[i])) return false;
    }
    return true;
}

bool has_form(std::string_view method, std::string_view target) {
    auto has_prefix = [&](std::string_view prefix) {
        return equals_ignoring_case(target.substr(0, prefix.size()), prefix);
    };
    return target[0] == '/' || has_prefix("http://") || has_prefix("https://") || (target == "*" && method == "OPTIONS");
}
}  // namespace
}  // namespace cb

int cb_exchange::check_request_line(
    std::string_view line, const cb_server_options &limits, const char *&detail) const {
    auto refuse = [&](int status, const char *why) {
        detail = why;
        return status;
    };
    size_t space = line.find(' ');
    if (space == std::string_view::npos || space > cb::method_max || !cb::is_token(line.substr(0, space)))
        return refuse(400, "The request line has no method.");
    auto rest = line.substr(space + 1);
    space = rest.find(' ');
    auto target_part = rest.substr(0, space);
    if (target_part.size() > limits.target_max) return refuse(414, "The request target is too long.");
    if (space == std::string_view::npos) return refuse(400, "The request line has no version.");
    if (target_part.empty() || !std::all_of(target_part.begin(), target_part.end(), [](char c) {
            return cb::is_target_character(c);
        }))
        return refuse(400, "The request target is malformed.");
    auto version = rest.substr(space + 1);
    if (version == "HTTP/1.1" || version == "HTTP/1.0") {
        auto method_part = line.substr(0, line.find(' '));
        if (method_part == "CONNECT") return refuse(501, "This server is no proxy.");
        if (!cb::has_form(method_part, target_part)) return refuse(400, "The request target is malformed.");
        return 0;
    }
    auto digit = [&](size_t i) { return version[i] >= '0' && version[i] <= '9'; };
    if (version.size() == 8 && version.substr(0, 5) == "HTTP/" && digit(5) && version[6] == '.' && digit(7))
        return refuse(505, "The server speaks HTTP/1.1.");
    return refuse(400, "The version is malformed.");
}

int cb_exchange::parse(std::string_view bytes, const cb_server_options &limits, const char *&detail) {
    auto refuse = [&](int status, const char *why) {
        detail = why;
        return status;
    };
    head.assign(bytes);
    std::string_view rest(head);
    size_t line_end = rest.find('\n');
    if (int status = check_request_line(rest.substr(0, line_end - 1), limits, detail)) return status;
    rest.remove_prefix(line_end + 1);
    for (line_end = rest.find('\n'); line_end > 1; line_end = rest.find('\n')) {
        if (!cb::is_field_line(rest.substr(0, line_end - 1))) return refuse(400, "A header field is malformed.");
        rest.remove_prefix(line_end + 1);
    }
    fields.reserve(16);
    cb::Reader reader(*this);
    boost::beast::error_code error;
    reader.put(boost::asio::const_buffer(head.data(), head.size()), error);
    if (reader.lengths > 1) return refuse(400, "There is more than one Content-Length.");
    if (!reader.is_length_good) return refuse(400, "The Content-Length is malformed.");
    if (reader.lengths > 0 && reader.codings > 0)
        return refuse(400, "There are both a Content-Length and a Transfer-Encoding.");
    if (error || !reader.is_header_done() || reader.is_misplaced)
        return refuse(400, "The header section is malformed.");
    if (reader.codings > 0 && is_http10) return refuse(400, "HTTP/1.0 has no Transfer-Encoding.");
    if (reader.codings > 1) return refuse(400, "There is more than one Transfer-Encoding.");
    if (!reader.is_coding_chunked) return refuse(501, "The only Transfer-Encoding known is chunked.");
    if (reader.hosts > 1 || (reader.hosts == 0 && !is_http10)) return refuse(400, "There must be one Host.");
    if (!reader.is_host_good) return refuse(400, "The Host is malformed.");
    if (is_http10) {
        expects_continue = false;
    } else if (!reader.is_expectation_known) {
        return refuse(417, "The only expectation known is 100-continue.");
    }
    for (char c : reader.length) content_length = content_length * 10 + uint64_t(c - '0');
    if (content_length > limits.body_max) return refuse(413, "The body is too long.");
    is_chunked = reader.codings > 0;
    keep_alive = reader.keep_alive();
    return 0;
}

extern "C" {
static cb_bytes bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}
cb_exchange *cb_exchange_new(const void *head, size_t head_count, const void *body, size_t body_count, int *status) {
    cb_server_options limits{};
    limits.target_max = limits.header_section_max = limits.header_count_max = limits.body_max = SIZE_MAX / 2;
    auto *exchange = new cb_exchange(nullptr, nullptr, sockaddr_in6{});
    const char *detail = nullptr;
    *status = exchange->parse({static_cast<const char *>(head), head_count}, limits, detail);
    if (*status != 0) {
        exchange->release();
        return nullptr;
    }
    exchange->body.assign(static_cast<const char *>(body), body_count);
    return exchange;
}
void cb_exchange_release(cb_exchange *x) { x->release(); }
cb_bytes cb_exchange_method(const cb_exchange *x) { return bytes_of(x->text(x->method)); }
cb_bytes cb_exchange_target(const cb_exchange *x) { return bytes_of(x->text(x->target)); }
cb_bytes cb_exchange_body(const cb_exchange *x) { return bytes_of(x->body); }
bool cb_exchange_is_http10(const cb_exchange *x) { return x->is_http10; }
size_t cb_exchange_header_count(const cb_exchange *x) { return x->fields.size(); }
cb_bytes cb_exchange_header_name(const cb_exchange *x, size_t i) { return bytes_of(x->text(x->fields[i].name)); }
cb_bytes cb_exchange_header_value(const cb_exchange *x, size_t i) { return bytes_of(x->text(x->fields[i].value)); }

size_t cb_exchange_find(const cb_exchange *x, const void *name, size_t count, size_t from) {
    std::string_view wanted(static_cast<const char *>(name), count);
    for (size_t i = from; i < x->fields.size(); i++) {
        if (cb::equals_ignoring_case(x->text(x->fields[i].name), wanted)) return i;
    }
    return SIZE_MAX;
}

size_t cb_exchange_remote(const cb_exchange *x, char *buffer, size_t capacity) {
    return cb::write_address(x->remote, buffer, capacity);
}
}
