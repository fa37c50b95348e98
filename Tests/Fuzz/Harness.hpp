// What both fuzzers share: a server on one loop, which takes each input as what one client sends.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "connection.hpp"
#include "server.hpp"

namespace fuzz {
/// Whatever is wrong with an answer.
[[noreturn]] inline void fail(const char *what) {
    fprintf(stderr, "fuzz: %s\n", what);
    abort();
}

inline void received(void *context, bool is_text, const uint8_t *bytes, size_t count) {
    if (is_text && !cb::is_utf8({reinterpret_cast<const char *>(bytes), count})) fail("a text that is no UTF-8");
    if (count > 64 * 1024) fail("a message beyond the limit");
    cb_websocket_send(static_cast<cb_websocket *>(context), is_text, bytes, count);
}
inline void nothing(void *) {}
inline void closed(void *context, int code, const uint8_t *, size_t count, int) {
    if (code < 1000 || code > 4999 || count > 123) fail("an impossible end");
    cb_websocket_release(static_cast<cb_websocket *>(context));
}
inline const cb_websocket_events events = {received, nothing, nothing, closed};

/// The options that one byte of the input chooses.
inline cb_websocket_options options(uint8_t choice) {
    cb_websocket_options options{};
    options.message_max = 64 * 1024;
    options.unsent_max = 256 * 1024;
    options.ping_ns = options.pong_ns = options.close_ns = options.write_ns = options.message_ns =
        60'000'000'000;
    options.deflates = choice & 1;
    options.keeps_context = choice & 2;
    options.window_bits = choice & 4 ? 9 : 15;
    options.level = choice & 8 ? 9 : 1;
    options.deflate_min = choice & 16 ? 0 : 64;
    return options;
}
inline uint8_t choice = 0;

inline void answer(void *, void *, void **, cb_exchange *exchange) {
    const char *detail = nullptr;
    if (cb_exchange_websocket(exchange, &detail) == 0) {
        auto chosen = options(choice);
        cb_respond_begin(exchange, 101);
        auto socket = cb_respond_websocket(exchange, &chosen, nullptr, 0);
        if (socket) cb_websocket_attach(socket, socket, &events);
    } else {
        auto body = cb_exchange_body(exchange);
        cb_respond_begin(exchange, 200);
        cb_respond_end(exchange, body.bytes, body.count);
    }
    cb_exchange_release(exchange);
}

class Server {
public:
    Server() {
        loop_ = cb_loop_new("fuzz");
        cb_loop_start(loop_, nullptr, nothing);
        cb_server_options limits{};
        limits.target_max = 1024;
        limits.header_section_max = 4096;
        limits.header_count_max = 32;
        limits.body_max = 4096;
        limits.connections_max = 100;
        limits.unsent_max = 256 * 1024;
        limits.idle_ns = limits.header_read_ns = limits.body_read_ns = limits.write_ns = limits.linger_ns = 60'000'000'000;
        server_ = cb_server_new(
            &loop_, 1, &limits, nullptr, answer, nothing, [](void *, int) {}, nothing);
    }

    /// Sends `bytes` as one client does, in parts of `part` bytes, and gives all that came back.
    std::string talk(std::string_view bytes, size_t part) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) fail("no sockets");
        // Less than libFuzzer's, which says nothing of why.
        auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        timeval limit{8, 0};
        setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        int size = 4 << 20;
        setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        sockaddr_in6 remote{};
        remote.sin6_family = AF_INET;
        server_->accepted(ends[1], remote);
        for (size_t at = 0; at < bytes.size(); at += part) {
            auto piece = bytes.substr(at, part);
            if (::send(ends[0], piece.data(), piece.size(), MSG_NOSIGNAL) < 0) break;
        }
        shutdown(ends[0], SHUT_WR);
        std::string answer;
        char room[65536];
        while (true) {
            auto n = ::recv(ends[0], room, sizeof room, 0);
            if (n == 0) break;
            if (n < 0) {
                if (errno == ECONNRESET) break;
                // libFuzzer's own alarm rings every few seconds, and an interrupted call with a limit is not begun again.
                if (errno == EINTR && std::chrono::steady_clock::now() < end) continue;
                fail("the connection is not closed");
            }
            answer.append(room, size_t(n));
        }
        ::close(ends[0]);
        return answer;
    }

private:
    cb_loop *loop_;
    cb_server *server_;
};

inline Server &server() {
    // Never freed: libFuzzer ends the process.
    static auto *server = new Server;
    return *server;
}
}  // namespace fuzz
