// Internal to CBeast. Listening sockets, for whatever takes the connections that they accept.
#pragma once

#include <netinet/in.h>

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <memory>
#include <optional>

#include "loop.hpp"

namespace cb {
/// Who takes what an acceptor accepts.
struct AcceptSink {
    virtual ~AcceptSink() = default;
    virtual void retain() = 0;
    virtual void release() = 0;
    /// Takes a descriptor that does not block. On the acceptor's loop.
    virtual void accepted(int descriptor, const sockaddr_in6 &remote) = 0;
    /// Nothing can be accepted for a while: there is no room for another descriptor. On the acceptor's loop.
    virtual void starved(int error) = 0;
};

/// Writes "address:port" and gives its length.
size_t write_address(const sockaddr_in6 &address, char *buffer, size_t capacity);

/// A listening socket that is not yet served.
struct Listening {
    int descriptor = -1;
    bool is_v6 = false;
    uint16_t port = 0;

    /// Blocks while a name is resolved. Gives 0 or an errno, or with `resolver` set one of getaddrinfo's codes.
    int open(const char *host, uint16_t port, bool &resolver);
};

/// One listening socket. Touched on its loop's thread only, but for its making, `launch` and `end`.
class Acceptor final : public Closable, public std::enable_shared_from_this<Acceptor> {
public:
    Acceptor(cb_loop &loop, AcceptSink &sink, const Listening &listening);
    // After `close`, which the loop calls at its end at the latest: nothing of Asio's is alive in it any more.
    ~Acceptor() override;

    /// Begins to accept, soon; false, and never, if the loop has ended.
    bool launch();
    /// Takes the connections that are there, and closes, soon: behind what was posted to the loop before.
    void end();
    void close() override;

private:
    // Enough for a burst, few enough that requests are not kept waiting.
    static constexpr int accepts_per_turn_max = 64;
    // Where descriptors come and go at the limit, every moment would be worth telling.
    static constexpr auto quiet_time = std::chrono::minutes(1);

    Keeper keeper_;  // first, so destroyed last: the context must outlive the members
    cb_loop &loop_;
    AcceptSink &sink_;
    boost::asio::ip::tcp::acceptor acceptor_;
    boost::asio::steady_timer retry_;
    std::optional<std::chrono::steady_clock::time_point> told_;

    bool post(void (Acceptor::*action)());
    void finish();
    void start();
    void wait();
    bool accept_some();
    void wait_a_moment();
    void tell(int error);
};
}  // namespace cb
