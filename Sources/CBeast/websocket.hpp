// Internal to CBeast. One WebSocket: a server's, which was an HTTP connection before, or a client's.
//
// It lives on one loop and is touched on that loop's thread only. It reads as a connection does: when there is something,
// to the loop's own buffer, so that one that waits holds none; and what is sent in a turn leaves with one system call at
// the turn's end.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "deflate.hpp"
#include "frames.hpp"
#include "loop.hpp"
#include "output.hpp"
#include "readiness.hpp"

struct cb_server;

struct cb_websocket final : cb::Served {
    /// What a handshake has agreed on.
    struct Terms {
        cb::DeflateTerms deflate;
        std::string subprotocol;
    };
    /// A server's, counted as open there from before this to the end of `close`, or without `server` a client's.
    cb_websocket(cb_loop &loop, cb_server *server, const cb_websocket_options &options, Terms terms);
    ~cb_websocket() override;

    /// Takes a connected socket. `unsent` goes out before the first frame.
    void start(int descriptor, bool is_v6, std::string_view unsent);
    /// What was read behind the handshake.
    void add_received(std::string_view bytes);
    void attach(void *context, const cb_websocket_events *events);
    bool is_attached() const { return events_; }
    cb_loop &loop() { return loop_; }
    bool send(bool is_text, std::string_view payload);
    bool send(cb_frame *frame);
    bool ping(std::string_view payload);
    size_t unsent() const { return out_.count(); }
    void tell_below(size_t count);
    void pause() { paused_ = true; }
    void resume();
    /// Begins the closing handshake.
    void close(int code, std::string_view reason);
    const std::string &subprotocol() const { return subprotocol_; }
    bool deflates() const { return deflates_; }

    // Called by the loop and by the server.
    void flush() override;
    void process_ready() override;
    void on_deadline() override;
    void drain() override;
    void close() override { end(ECANCELED, false); }
    bool belongs_to(const cb_server &server) const override { return server_ == &server; }
    void end(int error, bool reset);
    bool is_closed() const { return state_ == State::closed; }
    void lost(int error) { end(error, false); }

private:
    using tcp = boost::asio::ip::tcp;
    /// `closing`: this side has sent a close frame, the other has not. `finishing`: all that is left is to send what
    /// waits. `lingering`: and to wait for the other side's end, so that nothing is lost in a reset.
    enum class State : uint8_t { fresh, open, closing, finishing, lingering, closed };
    // A turn's share of one connection; the others come next.
    static constexpr int messages_per_turn_max = 256;
    static constexpr size_t taken_per_write_time = 64 * 1024;
    static constexpr size_t discarded_max = 16 << 20;
    static constexpr int parts_per_write_max = 64;

    cb::Keeper keeper_;  // first, so destroyed last: the context must outlive the members
    cb_loop &loop_;
    cb_server *const server_;
    const cb_websocket_options options_;
    tcp::socket socket_;
    void *context_ = nullptr;
    const cb_websocket_events *events_ = nullptr;
    State state_ = State::fresh;
    bool has_told_ = false;
    bool deflates_ = false;
    bool deflates_alike_ = false;  // as every other connection that keeps no context
    bool paused_ = false;
    bool processing_ = false;
    bool waiting_to_read_ = false;
    bool waiting_to_write_ = false;
    bool is_pinged_ = false;  // and has not been heard since
    bool tells_ = false;
    size_t tell_below_ = 0;
    cb::MessageReader reader_;
    std::unique_ptr<cb::Deflater> deflater_;
    std::string subprotocol_;
    std::string in_;
    cb::Output out_;
    size_t taken_ = 0;
    size_t discarded_ = 0;
    int64_t heard_ns_ = 0;
    int64_t state_deadline_ns_ = INT64_MAX;
    int64_t write_deadline_ns_ = INT64_MAX;
    int64_t message_deadline_ns_ = INT64_MAX;

    bool is_client() const { return !server_; }
    bool is_reading() const { return state_ == State::open || state_ == State::closing; }
    bool is_output_full() const { return out_.count() > options_.unsent_max; }
    /// Nothing more is taken from the other side: the owner has enough, or it does not take what is sent to it.
    bool is_held() const { return (paused_ && state_ == State::open) || is_output_full(); }
    void wait_to_read();
    void wait_to_write();
    void read_on();
    void heard();
    void limit_message();
    void on_readable();
    void process(char *bytes, size_t count, bool from_in);
    bool step(char *&at, char *end);
    void received_close();
    void fail(int code, std::string_view reason = {});
    void finish();
    void append_frame(cb::Opcode opcode, bool is_deflated, std::string_view payload);
    void append_close(int code, std::string_view reason);
    void all_sent();
    bool is_acknowledged(int64_t since_ns);
    void tell_closing();
    void tell_closed(int code, std::string_view reason, int error);
    void enter(State state, int64_t time_ns);
    void set_deadline() { deadline_ns = std::min({state_deadline_ns_, write_deadline_ns_, message_deadline_ns_}); }
    void need_flush() { loop_.need_flush(this); }
    void need_processing() { loop_.need_processing(this); }
};
