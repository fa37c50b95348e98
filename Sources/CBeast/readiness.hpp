// Internal to CBeast. Waiting until a socket can be read from or written to.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/intrusive_ptr.hpp>
#include <utility>

#include "loop.hpp"

namespace cb {
/// Calls `ready` of `owner`, in a turn of its loop, once its socket can be read from or written to, or `lost` if the socket
/// fails; neither once it is closed. `is_waiting` is true until then, and a second wait adds nothing. It holds the owner.
template <typename Owner>
void wait_until_ready(
    Owner *owner, boost::asio::ip::tcp::socket &socket, boost::asio::socket_base::wait_type what,
    bool Owner::*is_waiting, void (Owner::*ready)()) {
    if (std::exchange(owner->*is_waiting, true)) return;
    socket.async_wait(
        what, [self = boost::intrusive_ptr<Owner>(owner), is_waiting, ready](boost::system::error_code error) {
            cb_loop::Turn turn(self->loop());
            (*self).*is_waiting = false;
            if (self->is_closed()) return;
            if (error) return self->lost(error.value());
            ((*self).*ready)();
        });
}
}  // namespace cb
