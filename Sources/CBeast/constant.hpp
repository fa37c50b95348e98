// Internal to CBeast. The WebSockets of a server that answers without Swift: what benchmarks measure Swift's cost against.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "frames.hpp"
#include "loop.hpp"
#include "websocket.hpp"

namespace cb {
/// Every message that one of its WebSockets sends goes to all of them, also to those on other loops.
class Broadcast {
public:
    explicit Broadcast(const std::vector<cb_loop *> &loops) : loops_(loops) {
        for (auto loop : loops) members_[loop];
    }
    /// Answers a handshake. On the thread of its loop.
    void accept(cb_exchange *exchange);

private:
    struct Member {
        Broadcast *broadcast;
        cb_websocket *socket;
    };
    // A member that does not keep up misses messages: then memory is not what is measured.
    static constexpr size_t unsent_max = 4 << 20;
    static const cb_websocket_events events;

    const std::vector<cb_loop *> &loops_;
    // Each loop touches its own alone; the table does not change.
    std::unordered_map<cb_loop *, std::vector<Member *>> members_;

    void send(bool is_text, std::string_view message);
    void remove(Member *member);
};
}  // namespace cb
