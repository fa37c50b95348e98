// Internal to CBeast. One accepted connection: reads requests one after the other, and writes their answers in order.
//
// It lives on one loop and is touched on that loop's thread only. It waits for readiness with Asio and then reads to
// the loop's own buffer, so that a connection that waits holds no buffer; a filter between `receive`/`send` and the rest
// is where TLS goes, and a state that takes the bytes instead of `process` where WebSocket does.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/intrusive_ptr.hpp>
#include <string>
#include <string_view>

#include "chunks.hpp"
#include "exchange.hpp"
#include "loop.hpp"

struct cb_server;

namespace cb {
using boost::asio::ip::tcp;

class Connection final : public Sender {
public:
    size_t index_in_loop = 0;
    /// When `on_deadline` is due, at the loop's next tick.
    int64_t deadline_ns = INT64_MAX;

    /// Takes the descriptor. Counted as open in `server` from before this to the end of `close`.
    Connection(cb_loop &loop, cb_server &server, int descriptor, const sockaddr_in6 &remote);
    ~Connection() override;

    void start();
    /// Answers 503 to whatever comes, and ends.
    void refuse();
    /// The answer under way is its last; without one, that to a request that comes very soon.
    void drain();
    /// Ends as it stands.
    void close();

    // Called by the loop.
    void flush() override;
    void process_ready();
    void on_deadline();

    // Called by the exchange that is being answered.
    std::string &output() { return out_; }
    void answered(bool keep_alive);
    bool is_draining() const;
    bool belongs_to(const cb_server &server) const { return &server_ == &server; }

private:
    enum class State : uint8_t { idle, head, body, chunked, handling, closing, lingering, closed };

    // A turn's share of one connection; the others come next.
    static constexpr int requests_per_turn_max = 64;
    static constexpr size_t kept_capacity_max = 4096;
    static constexpr size_t taken_per_write_time = 64 * 1024;
    static constexpr size_t discarded_max = 16 << 20;
    // How long a server that drains waits for requests that were sent before anybody could know.
    static constexpr int64_t farewell_ns = 200'000'000;

    cb_loop &loop_;
    cb_server &server_;
    tcp::socket socket_;
    sockaddr_in6 remote_;
    State state_ = State::idle;
    bool waiting_to_read_ = false;
    bool waiting_to_write_ = false;
    bool processing_ = false;
    bool flush_queued_ = false;
    bool ready_queued_ = false;
    // What `in_` holds can be processed, once there is room for its answers or the next turn has come.
    bool stalled_ = false;
    bool linger_ = false;

    std::string in_;
    HeadScan scan_;
    ChunkDecoder chunks_;
    size_t body_left_ = 0;
    cb_exchange *exchange_ = nullptr;
    // What answers the requests has this place.
    void *handler_ = nullptr;
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
    void queue_flush();
    void queue_ready();
    void drop_exchange();
    bool is_reading() const { return state_ <= State::chunked; }
    bool is_output_full() const;
};
}  // namespace cb
