// Internal to CBeast. One accepted connection: reads requests one after the other, and writes their answers in order.
//
// It lives on one loop and is touched on that loop's thread only. It waits for readiness with Asio and then reads to
// the loop's own buffer, so that a connection that waits holds no buffer; a filter between `receive`/`send` and the rest
// is where TLS goes. A connection that becomes a WebSocket gives its socket to one and ends.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/intrusive_ptr.hpp>
#include <string>
#include <string_view>

#include "chunks.hpp"
#include "exchange.hpp"
#include "loop.hpp"
#include "readiness.hpp"
#include "websocket.hpp"

struct cb_server;

namespace cb {
using boost::asio::ip::tcp;

class Connection final : public Served {
public:
    /// Takes the descriptor. Counted as open in `server` from before this to the end of `close`.
    Connection(cb_loop &loop, cb_server &server, int descriptor, const sockaddr_in6 &remote);
    ~Connection() override;

    void start();
    /// Answers 503 to whatever comes, and ends.
    void refuse();
    /// The answer under way is its last; without one, that to a request that comes very soon.
    void drain() override;
    void close() override;
    void flush() override;
    void process_ready() override;
    void on_deadline() override;
    bool belongs_to(const cb_server &server) const override { return &server_ == &server; }
    cb_loop &loop() { return loop_; }
    bool is_closed() const { return state_ == State::closed; }
    void lost(int) { close(); }

    // Called by the exchange that is being answered.
    std::string &output() { return out_; }
    void answered(bool keep_alive);
    bool is_draining() const;
    void begin_body(void *context, const cb_body_events *events, bool is_chunked, bool keep_alive);
    bool append_body(std::string_view bytes);
    void end_body(bool complete);
    size_t unsent() const { return out_.size() - sent_; }
    void tell_below(size_t count);
    /// Gives the socket to a WebSocket, which sends what waits here, and ends.
    cb_websocket *upgrade(const cb_websocket_options &options, cb_websocket::Terms terms);

private:
    /// `streaming`: the answer's head is written, and its body comes bit by bit.
    enum class State : uint8_t { idle, head, body, chunked, handling, streaming, closing, lingering, closed };
    struct Body {
        void *context = nullptr;
        const cb_body_events *events = nullptr;
        bool is_chunked = false;
        bool keep_alive = false;
        bool tells = false;
        size_t tell_below = 0;
    };

    // A turn's share of one connection; the others come next.
    static constexpr int requests_per_turn_max = 64;
    static constexpr size_t kept_capacity_max = 4096;
    static constexpr size_t taken_per_write_time = 64 * 1024;
    static constexpr size_t discarded_max = 16 << 20;
    // How long a server that drains waits for requests that were sent before anybody could know.
    static constexpr int64_t farewell_ns = 200'000'000;
    // When and how often the system of a client that sends no more is asked whether it is there, in seconds.
    static constexpr int probe_time = 15, probes_max = 4;

    cb_loop &loop_;
    cb_server &server_;
    tcp::socket socket_;
    sockaddr_in6 remote_;
    State state_ = State::idle;
    bool waiting_to_read_ = false;
    bool waiting_to_write_ = false;
    bool processing_ = false;
    // What `in_` holds can be processed, once there is room for its answers or the next turn has come.
    bool stalled_ = false;
    bool linger_ = false;
    bool input_ended_ = false;

    std::string in_;
    HeadScan scan_;
    ChunkDecoder chunks_;
    size_t body_left_ = 0;
    cb_exchange *exchange_ = nullptr;
    // What answers the requests has this place.
    void *handler_ = nullptr;
    std::unique_ptr<Body> body_;
    boost::intrusive_ptr<cb_websocket> upgraded_;
    std::string out_;
    size_t sent_ = 0;
    size_t taken_ = 0;
    size_t discarded_ = 0;
    int64_t state_deadline_ns_ = INT64_MAX;
    int64_t write_deadline_ns_ = INT64_MAX;

    void wait_to_read();
    void wait_to_write();
    void on_readable();
    void process(std::string_view bytes, bool from_in);
    size_t step(std::string_view bytes);
    size_t step_head(std::string_view bytes);
    void dispatch();
    void fail(int status, const char *detail);
    void enter(State state, int64_t time_ns);
    void wait_for_request();
    void set_deadline() { deadline_ns = std::min(state_deadline_ns_, write_deadline_ns_); }
    void need_flush() { loop_.need_flush(this); }
    void need_processing() { loop_.need_processing(this); }
    void drop_exchange();
    void read_ahead();
    void wait_for_reset();
    void reset_when_closed();
    void drop_body();
    void leave(std::string_view received);
    bool is_reading() const { return state_ <= State::chunked; }
    bool is_output_full() const;
};
}  // namespace cb
