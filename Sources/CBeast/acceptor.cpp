#include "acceptor.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

using boost::asio::ip::tcp;

namespace cb {
namespace {
struct Resolved {
    addrinfo *list = nullptr;
    ~Resolved() {
        if (list) freeaddrinfo(list);
    }
};

/// A listening socket, or minus an errno.
int listen_at(const addrinfo &address) {
    int fd = ::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (::bind(fd, address.ai_addr, address.ai_addrlen) < 0 || ::listen(fd, SOMAXCONN) < 0) {
        int error = errno;
        ::close(fd);
        return -error;
    }
    return fd;
}
}  // namespace

size_t write_address(const sockaddr_in6 &v6, char *buffer, size_t capacity) {
    char address[INET6_ADDRSTRLEN] = "";
    bool is_v6 = v6.sin6_family == AF_INET6;
    auto v4 = reinterpret_cast<const sockaddr_in *>(&v6);
    inet_ntop(is_v6 ? AF_INET6 : AF_INET, is_v6 ? (const void *)&v6.sin6_addr : &v4->sin_addr, address, sizeof address);
    int port = ntohs(is_v6 ? v6.sin6_port : v4->sin_port);
    int n = snprintf(buffer, capacity, is_v6 ? "[%s]:%d" : "%s:%d", address, port);
    return std::min(size_t(std::max(n, 0)), capacity - 1);
}

int Listening::open(const char *host, uint16_t wanted, bool &resolver) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    Resolved resolved;
    resolver = false;
    if (int error = getaddrinfo(host, std::to_string(wanted).c_str(), &hints, &resolved.list)) {
        resolver = true;
        return error;
    }
    int fd = -EADDRNOTAVAIL;
    const addrinfo *address = resolved.list;
    for (; address; address = address->ai_next) {
        fd = listen_at(*address);
        if (fd >= 0) break;
    }
    if (fd < 0) return -fd;
    sockaddr_in6 bound{};
    socklen_t size = sizeof bound;
    getsockname(fd, reinterpret_cast<sockaddr *>(&bound), &size);
    // The port stands at the same place in both families.
    port = ntohs(bound.sin6_port);
    descriptor = fd;
    is_v6 = address->ai_family == AF_INET6;
    return 0;
}

Acceptor::Acceptor(cb_loop &loop, AcceptSink &sink, const Listening &listening)
    : keeper_(loop), loop_(loop), sink_(sink), acceptor_(loop.io), retry_(loop.io) {
    boost::system::error_code error;
    acceptor_.assign(listening.is_v6 ? tcp::v6() : tcp::v4(), listening.descriptor, error);
    if (error) ::close(listening.descriptor);
    sink_.retain();
}

Acceptor::~Acceptor() { sink_.release(); }

bool Acceptor::post(void (Acceptor::*action)()) {
    struct Call {
        std::shared_ptr<Acceptor> acceptor;
        void (Acceptor::*action)();
    };
    auto call = new Call{shared_from_this(), action};
    auto run = [](void *box, void *) {
        auto call = static_cast<Call *>(box);
        (call->acceptor.get()->*call->action)();
        delete call;
    };
    if (loop_.post({run, call, nullptr})) return true;
    delete call;
    return false;
}

bool Acceptor::launch() { return post(&Acceptor::start); }
void Acceptor::end() { post(&Acceptor::finish); }

void Acceptor::start() {
    loop_.add(this);
    if (loop_.is_stopping()) return close();
    wait();
}

void Acceptor::finish() {
    // Clients of these hold them for connected: without a listener they would be reset.
    if (acceptor_.is_open()) accept_some();
    close();
}

void Acceptor::close() {
    boost::system::error_code ignored;
    if (!acceptor_.is_open()) return;
    acceptor_.close(ignored);
    retry_.cancel();
    loop_.remove(this);
}

void Acceptor::wait() {
    if (!acceptor_.is_open()) return;
    acceptor_.async_wait(tcp::acceptor::wait_read, [self = shared_from_this()](boost::system::error_code error) {
        if (error || !self->acceptor_.is_open()) return;
        cb_loop::Turn turn(self->loop_);
        if (self->accept_some()) {
            self->wait();
        } else {
            self->wait_a_moment();
        }
    });
}

/// False if there is no room for another descriptor: at once it would fail again.
bool Acceptor::accept_some() {
    for (int i = 0; i < accepts_per_turn_max; i++) {
        sockaddr_in6 remote{};
        socklen_t size = sizeof remote;
        int descriptor = ::accept4(
            acceptor_.native_handle(), reinterpret_cast<sockaddr *>(&remote), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor >= 0) {
            sink_.accepted(descriptor, remote);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            tell(errno);
            return false;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
        // Everything else is about one connection that never came to be.
    }
    return true;
}

void Acceptor::tell(int error) {
    auto now = std::chrono::steady_clock::now();
    if (told_ && now - *told_ < quiet_time) return;
    told_ = now;
    sink_.starved(error);
}

void Acceptor::wait_a_moment() {
    retry_.expires_after(std::chrono::milliseconds(100));
    retry_.async_wait([self = shared_from_this()](boost::system::error_code error) {
        if (!error) self->wait();
    });
}
}  // namespace cb
