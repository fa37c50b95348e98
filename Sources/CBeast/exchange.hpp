// Internal to CBeast. One request with the answer to it, and what reads a request's header section.
#pragma once

#include <netinet/in.h>

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "cbeast.h"
#include "loop.hpp"

namespace cb {
class Connection;

/// Where the connection has come to in its search for the end of a header section.
struct HeadScan {
    enum class Result : uint8_t { more, complete, failed };
    size_t line_start = 0;
    size_t scanned = 0;
    size_t request_line = 0;  // with its CRLF; 0 while it is incomplete
    size_t headers = 0;
    size_t end = 0;  // behind the empty line
    int status = 0;
    const char *detail = nullptr;

    /// Goes on in `bytes`, which begin where they did before. Refuses what no later byte can mend.
    Result advance(std::string_view bytes, const cb_server_options &limits);

private:
    Result fail(int status, const char *detail);
    Result check_incomplete_line(std::string_view bytes, const cb_server_options &limits);
};

struct Span {
    uint32_t at;
    uint32_t count;
};

struct Field {
    Span name;
    Span value;
};

/// Appends an answer that the server gives by itself; with `Connection: close`.
void append_problem(std::string &out, cb_loop &loop, int status, const char *detail, bool close, bool head_only);
/// Not of no bytes, which would be the body's end.
void append_chunk(std::string &out, std::string_view bytes);
void append_status_line(std::string &out, int status);
bool is_token(std::string_view text);
bool equals_ignoring_case(std::string_view a, std::string_view b);
}  // namespace cb

struct cb_exchange {
    /// Null for a request that came over no connection.
    cb_loop *loop;
    /// Null once the connection has ended; read on the loop's thread only.
    cb::Connection *connection;
    sockaddr_in6 remote;
    std::string head;
    std::string body;
    cb::Span method{};
    cb::Span target{};
    std::vector<cb::Field> fields;
    bool is_http10 = false;
    bool is_head = false;
    bool keep_alive = false;
    bool is_chunked = false;
    bool expects_continue = false;
    uint64_t content_length = 0;

    cb_exchange(cb_loop *loop, cb::Connection *connection, const sockaddr_in6 &remote);
    ~cb_exchange();
    void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    std::string_view text(cb::Span span) const { return std::string_view(head).substr(span.at, span.count); }

    /// Reads a complete header section. 0, or the status to refuse it with.
    int parse(std::string_view bytes, const cb_server_options &limits, const char *&detail);

    void begin(int status);
    void add_header(std::string_view name, std::string_view value);
    void end(std::string_view body);
    /// False if there is no body to be sent; otherwise the connection asks for it.
    bool end_with_stream(void *context, const cb_body_events *events);
    cb_websocket *end_with_websocket(const cb_websocket_options &options, std::string_view subprotocol);

private:
    std::atomic<int> references_{1};
    // The answer, while it is written to the connection's output.
    size_t answer_at_ = 0;
    int status_ = 0;
    bool is_broken_ = false;
    bool asks_to_close_ = false;

    bool keeps() const;
    void refuse_broken(bool keep);

    int check_request_line(std::string_view line, const cb_server_options &limits, const char *&detail) const;
};
