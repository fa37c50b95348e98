// Internal to CBeast. A TCP connection that carries bytes, accepted or opened; on its loop's thread only.
//
// It reads to the loop's own buffer and hands over what came, all of it; what is appended in a round is sent at the
// round's end, with one system call if the system takes it. It has no time-outs: its owner closes it.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/intrusive_ptr.hpp>
#include <memory>
#include <vector>

#include "bytes.hpp"
#include "loop.hpp"
#include "readiness.hpp"

struct cb_addresses {
    std::vector<boost::asio::ip::tcp::endpoint> list;
};

namespace cb {
/// One of a listener's places for connections, given back with the last copy.
using Place = std::shared_ptr<void>;
}  // namespace cb

struct cb_stream final : cb::Closable, cb::Sender {
    explicit cb_stream(cb_loop &loop);
    /// Takes the descriptor.
    cb_stream(cb_loop &loop, int descriptor, const sockaddr_in6 &remote, cb::Place place);
    ~cb_stream() override;

    cb_loop &loop() { return loop_; }
    void attach(void *context, const cb_stream_events *events);
    void connect(std::unique_ptr<cb_addresses> addresses);
    uint8_t *append(size_t count);
    void tell_below(size_t count);
    void pause() { paused_ = true; }
    void resume();
    void finish();
    void end(int error, bool reset);
    /// Ends with what the system takes at once; resets the connection if that is not all, and `resets`.
    void close(int error, bool resets);
    /// Gives the descriptor away, if it is open, and ends; otherwise -1.
    int surrender(bool &is_v6);
    void close() override { end(ECANCELED, false); }
    void flush() override;
    bool is_closed() const { return state_ == State::closed; }
    void lost(int error) { end(error, false); }

    size_t unsent() const { return out_.count(); }
    const sockaddr_in6 &remote() const { return remote_; }
    uint64_t sent() const { return sent_; }
    uint64_t writes() const { return writes_; }

private:
    using tcp = boost::asio::ip::tcp;
    enum class State : uint8_t { fresh, connecting, open, finishing, lingering, closed };
    static constexpr size_t discarded_max = 16 << 20;
    // Small beside what whoever appends may leave unsent, large beside a system call.
    static constexpr size_t round_bytes_max = 64 << 10;

    cb::Keeper keeper_;  // first, so destroyed last: the context must outlive the members
    cb_loop &loop_;
    tcp::socket socket_;
    sockaddr_in6 remote_{};
    void *context_ = nullptr;
    const cb_stream_events *events_ = nullptr;
    State state_ = State::fresh;
    bool accepted_ = false;
    bool paused_ = false;
    bool waiting_to_read_ = false;
    bool waiting_to_write_ = false;
    bool tells_ = false;
    size_t tell_below_ = 0;
    cb::Bytes out_;
    uint64_t sent_ = 0;
    uint64_t writes_ = 0;
    size_t discarded_ = 0;
    cb::Place place_;
    std::unique_ptr<cb_addresses> addresses_;
    size_t next_address_ = 0;

    void connect_next(int error_before);
    void connected();
    void open();
    void wait_to_read();
    void wait_to_write();
    /// Sends what the system takes; gives the error if it takes nothing ever again.
    int hand_over();
    void on_readable();
    void discard(size_t count);
    /// A stream carries what many turns have for one peer.
    void need_flush() { loop_.need_flush_of_round(this); }
    void all_sent();
};
