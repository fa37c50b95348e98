// Writes answers, straight to their connection's output.
#include <array>
#include <boost/beast/http/status.hpp>
#include <charconv>

#include "characters.hpp"
#include "connection.hpp"

namespace http = boost::beast::http;

namespace cb {
namespace {
void append_number(std::string &out, uint64_t number, int base = 10) {
    char digits[20];
    auto end = std::to_chars(digits, digits + sizeof digits, number, base).ptr;
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

void append_chunk(std::string &out, std::string_view bytes) {
    append_number(out, bytes.size(), 16);
    out.append("\r\n").append(bytes).append("\r\n");
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
    is_broken_ = (status < 200 && status != 101) || status > 999;
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
        // What opens a WebSocket is the server's too.
        case 20:
        case 22:
        case 24:
            if (cb::equals_ignoring_case(name, "sec-websocket-accept") ||
                cb::equals_ignoring_case(name, "sec-websocket-protocol") ||
                cb::equals_ignoring_case(name, "sec-websocket-extensions"))
                return;
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

bool cb_exchange::keeps() const { return keep_alive && !asks_to_close_ && !connection->is_draining(); }

void cb_exchange::refuse_broken(bool keep) {
    auto &out = connection->output();
    out.resize(answer_at_);
    cb::append_problem(out, *loop, 500, "The answer had a header that cannot be sent.", !keep, is_head);
    connection->answered(keep);
}

void cb_exchange::end(std::string_view content) {
    if (!connection) return;
    auto &out = connection->output();
    bool keep = keeps();
    if (is_broken_ || status_ == 101) return refuse_broken(keep);
    if (status_ == 426) {
        // RFC 9110, 15.5.22: it names what is spoken.
        out += keep ? "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                    : "Upgrade: websocket\r\nConnection: Upgrade, close\r\n";
    } else if (!keep) {
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

bool cb_exchange::end_with_stream(void *context, const cb_body_events *events) {
    if (!connection) return false;
    auto &out = connection->output();
    // A client of HTTP/1.0 knows the end of the body by that of the connection.
    bool keep = keeps() && !is_http10;
    if (is_broken_ || status_ == 101) {
        refuse_broken(keep);
        return false;
    }
    if (!keep) out += "Connection: close\r\n";
    bool has_body = status_ != 204 && status_ != 304;
    if (has_body && !is_http10) out += "Transfer-Encoding: chunked\r\n";
    out += "\r\n";
    if (!has_body || is_head) {
        connection->answered(keep);
        return false;
    }
    connection->begin_body(context, events, !is_http10, keep);
    return true;
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
bool cb_respond_stream(cb_exchange *x, void *context, const cb_body_events *events) {
    return x->end_with_stream(context, events);
}
bool cb_body_append(cb_exchange *x, const void *bytes, size_t count) {
    return x->connection && x->connection->append_body({static_cast<const char *>(bytes), count});
}
size_t cb_body_unsent(const cb_exchange *x) { return x->connection ? x->connection->unsent() : 0; }
void cb_body_tell_below(cb_exchange *x, size_t count) {
    if (x->connection) x->connection->tell_below(count);
}
void cb_body_end(cb_exchange *x, bool complete) {
    if (x->connection) x->connection->end_body(complete);
}
}
