// Writes answers, straight to their connection's output.
#include <array>
#include <boost/beast/http/status.hpp>
#include <charconv>

#include "characters.hpp"
#include "connection.hpp"

namespace http = boost::beast::http;

namespace cb {
namespace {
void append_number(std::string &out, uint64_t number) {
    char digits[20];
    auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
    out.append(digits, size_t(end - digits));
}

bool is_field_value(std::string_view text) {
    for (unsigned char c : text) {
        if (!is_field_character(c)) return false;
    }
    return true;
}

std::string_view title(int status) {
    auto text = http::obsolete_reason(http::int_to_status(unsigned(status)));
    return {text.data(), text.size()};
}
}  // namespace

void append_status_line(std::string &out, int status) {
    if (status == 200) {
        out += "HTTP/1.1 200 OK\r\n";
        return;
    }
    out += "HTTP/1.1 ";
    append_number(out, uint64_t(status));
    out += ' ';
    out += title(status);
    out += "\r\n";
}

void append_problem(std::string &out, cb_loop &loop, int status, const char *detail, bool close, bool head_only) {
    std::string body = "{\"type\":\"about:blank\",\"title\":\"";
    body += title(status);
    body += "\",\"status\":";
    append_number(body, uint64_t(status));
    body += ",\"detail\":\"";
    body += detail;
    body += "\"}";
    append_status_line(out, status);
    out += loop.date_line();
    out += "Content-Type: application/problem+json\r\n";
    if (status == 503) out += "Retry-After: 1\r\n";
    if (close) out += "Connection: close\r\n";
    out += "Content-Length: ";
    append_number(out, body.size());
    out += "\r\n\r\n";
    if (!head_only) out += body;
}
}  // namespace cb

cb_exchange::cb_exchange(cb_loop *l, cb::Connection *c, const sockaddr_in6 &r) : loop(l), connection(c), remote(r) {
    if (loop) loop->retain();
}

cb_exchange::~cb_exchange() {
    if (loop) loop->release();
}

void cb_exchange::begin(int status) {
    if (!connection) return;
    auto &out = connection->output();
    answer_at_ = out.size();
    status_ = status;
    is_broken_ = status < 200 || status > 999;
    asks_to_close_ = false;
    cb::append_status_line(out, status);
    out += loop->date_line();
}

void cb_exchange::add_header(std::string_view name, std::string_view value) {
    if (!connection) return;
    if (!cb::is_token(name) || !cb::is_field_value(value)) {
        is_broken_ = true;
        return;
    }
    // What frames the answer is the server's.
    switch (name.size()) {
        case 4:
            if (cb::equals_ignoring_case(name, "date")) return;
            break;
        case 7:
            if (cb::equals_ignoring_case(name, "trailer") || cb::equals_ignoring_case(name, "upgrade")) return;
            break;
        case 10:
            if (cb::equals_ignoring_case(name, "connection")) {
                asks_to_close_ |= cb::equals_ignoring_case(value, "close");
                return;
            }
            if (cb::equals_ignoring_case(name, "keep-alive")) return;
            break;
        case 14:
            if (cb::equals_ignoring_case(name, "content-length")) return;
            break;
        case 17:
            if (cb::equals_ignoring_case(name, "transfer-encoding")) return;
            break;
        default: break;
    }
    auto &out = connection->output();
    out.append(name).append(": ").append(value).append("\r\n");
}

void cb_exchange::end(std::string_view content) {
    if (!connection) return;
    auto &out = connection->output();
    bool keep = keep_alive && !asks_to_close_ && !connection->is_draining();
    if (is_broken_) {
        out.resize(answer_at_);
        cb::append_problem(out, *loop, 500, "The answer had a header that cannot be sent.", !keep, is_head);
        connection->answered(keep);
        return;
    }
    if (!keep) {
        out += "Connection: close\r\n";
    } else if (is_http10) {
        out += "Connection: keep-alive\r\n";
    }
    if (status_ == 204 || status_ == 304) {
        out += "\r\n";
    } else {
        out += "Content-Length: ";
        cb::append_number(out, content.size());
        out += "\r\n\r\n";
        if (!is_head) out += content;
    }
    connection->answered(keep);
}

extern "C" {
void cb_respond_begin(cb_exchange *x, int status) { x->begin(status); }
void cb_respond_header(
    cb_exchange *x, const void *name, size_t name_count, const void *value, size_t value_count) {
    x->add_header({static_cast<const char *>(name), name_count}, {static_cast<const char *>(value), value_count});
}
void cb_respond_end(cb_exchange *x, const void *body, size_t count) {
    x->end({static_cast<const char *>(body), count});
}
}
