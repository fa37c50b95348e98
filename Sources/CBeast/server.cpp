#include "server.hpp"

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <cstring>

#include "connection.hpp"

using boost::asio::ip::tcp;

namespace cb {
/// One listening socket, on the first loop. Touched on that loop's thread only, but for its making.
class Acceptor final : public Closable, public std::enable_shared_from_this<Acceptor> {
public:
    Acceptor(cb_loop &loop, cb_server &server, int descriptor, bool is_v6)
        : loop_(loop), server_(server), acceptor_(loop.io), retry_(loop.io) {
        boost::system::error_code error;
        acceptor_.assign(is_v6 ? tcp::v6() : tcp::v4(), descriptor, error);
        if (error) ::close(descriptor);
        loop_.retain();
        server_.retain();
    }

    // After `close`, which the loop calls at its end at the latest: nothing of Asio's is alive in it any more.
    ~Acceptor() override {
        server_.release();
        // Last, in a job of its own lifetime: the context must outlive the members.
        keeper_.loop = &loop_;
    }

    void start() {
        loop_.add(this);
        if (loop_.is_stopping()) return close();
        wait();
    }

    void close() override {
        boost::system::error_code ignored;
        if (!acceptor_.is_open()) return;
        acceptor_.close(ignored);
        retry_.cancel();
        loop_.remove(this);
    }

private:
    struct Keeper {
        cb_loop *loop = nullptr;
        ~Keeper() {
            if (loop) loop->release();
        }
    };
    // Enough for a burst, few enough that requests are not kept waiting.
    static constexpr int accepts_per_turn_max = 64;

    Keeper keeper_;  // first, so destroyed last
    cb_loop &loop_;
    cb_server &server_;
    tcp::acceptor acceptor_;
    boost::asio::steady_timer retry_;

    void wait() {
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
    bool accept_some() {
        for (int i = 0; i < accepts_per_turn_max; i++) {
            sockaddr_in6 remote{};
            socklen_t size = sizeof remote;
            int descriptor = ::accept4(
                acceptor_.native_handle(), reinterpret_cast<sockaddr *>(&remote), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (descriptor >= 0) {
                server_.accepted(descriptor, remote);
                continue;
            }
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) return false;
            if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
            // Everything else is about one connection that never came to be.
        }
        return true;
    }

    void wait_a_moment() {
        retry_.expires_after(std::chrono::milliseconds(100));
        retry_.async_wait([self = shared_from_this()](boost::system::error_code error) {
            if (!error) self->wait();
        });
    }
};
}  // namespace cb

cb_server::cb_server(
    std::vector<cb_loop *> l, const cb_server_options &o, void *c, cb_request_fn f, cb_release_fn ended,
    cb_release_fn released)
    : options(o), context(c), on_request(f), on_end(ended), loops(std::move(l)), released_(released) {
    for (auto loop : loops) loop->retain();
}

cb_server::~cb_server() {
    released_(context);
    for (auto loop : loops) loop->release();
}

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

int cb_server::bind(const char *host, uint16_t port, uint16_t &actual, bool &resolver) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    Resolved resolved;
    resolver = false;
    if (int error = getaddrinfo(host, std::to_string(port).c_str(), &hints, &resolved.list)) {
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
    actual = ntohs(bound.sin6_port);

    struct Start {
        std::shared_ptr<cb::Acceptor> acceptor;
    };
    auto acceptor = std::make_shared<cb::Acceptor>(*loops[0], *this, fd, address->ai_family == AF_INET6);
    {
        std::lock_guard lock(mutex_);
        if (is_draining()) return ECANCELED;
        acceptors_.push_back(acceptor);
    }
    auto start = new Start{std::move(acceptor)};
    auto run = [](void *box, void *) {
        auto start = static_cast<Start *>(box);
        start->acceptor->start();
        delete start;
    };
    if (!loops[0]->post({run, start, nullptr})) {
        delete start;
        std::lock_guard lock(mutex_);
        acceptors_.clear();
        return ECANCELED;
    }
    return 0;
}

void cb_server::accepted(int descriptor, const sockaddr_in6 &remote) {
    struct Handover {
        cb_server *server;
        cb_loop *loop;
        int descriptor;
        sockaddr_in6 remote;
        bool refused;
    };
    accepted_count.fetch_add(1, std::memory_order_relaxed);
    size_t before = open.fetch_add(1);
    bool refused = before >= options.connections_max;
    if (refused) refused_count.fetch_add(1, std::memory_order_relaxed);
    // A few beyond the limit are told why; in a flood, not even that.
    if (before >= options.connections_max + options.connections_max / 10 + 16) {
        ::close(descriptor);
        return closed();
    }
    int one = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    auto loop = loops[next_loop_++ % loops.size()];
    auto handover = new Handover{this, loop, descriptor, remote, refused};
    retain();
    auto run = [](void *box, void *) {
        auto h = static_cast<Handover *>(box);
        auto connection = new cb::Connection(*h->loop, *h->server, h->descriptor, h->remote);
        h->refused ? connection->refuse() : connection->start();
        h->server->release();
        delete h;
    };
    if (!loop->post({run, handover, nullptr})) {
        ::close(descriptor);
        delete handover;
        closed();
        release();
    }
}

void cb_server::closed() {
    if (open.fetch_sub(1) == 1 && draining_.load()) tell_waiters();
}

void cb_server::tell_waiters() {
    std::vector<Waiter> waiters;
    {
        std::lock_guard lock(mutex_);
        waiters.swap(waiters_);
    }
    for (auto &waiter : waiters) waiter.done(waiter.context);
}

void cb_server::stop_accepting() {
    std::vector<std::shared_ptr<cb::Acceptor>> acceptors;
    {
        std::lock_guard lock(mutex_);
        draining_.store(true);
        acceptors.swap(acceptors_);
    }
    for (auto &acceptor : acceptors) {
        struct Stop {
            std::shared_ptr<cb::Acceptor> acceptor;
        };
        auto stop = new Stop{std::move(acceptor)};
        auto run = [](void *box, void *) {
            static_cast<Stop *>(box)->acceptor->close();
            delete static_cast<Stop *>(box);
        };
        if (!loops[0]->post({run, stop, nullptr})) delete stop;
    }
}

void cb_server::drain(void *waiter, cb_release_fn done) {
    {
        std::lock_guard lock(mutex_);
        waiters_.push_back({waiter, done});
    }
    stop_accepting();
    // Behind the acceptor's end in the first loop's order: nothing is accepted any more once the others are asked.
    auto ask = [](void *box, void *) {
        auto server = static_cast<cb_server *>(box);
        for (auto loop : server->loops) {
            server->retain();
            auto run = [](void *box, void *where) {
                auto server = static_cast<cb_server *>(box);
                auto connections = static_cast<cb_loop *>(where)->connections();
                for (auto connection : connections) {
                    if (connection->belongs_to(*server)) connection->drain();
                }
                server->release();
            };
            if (!loop->post({run, server, loop})) server->release();
        }
        if (server->open.load() == 0) server->tell_waiters();
        server->release();
    };
    retain();
    if (!loops[0]->post({ask, this, nullptr})) {
        tell_waiters();
        release();
    }
}

void cb_server::abort() {
    stop_accepting();
    for (auto loop : loops) {
        retain();
        auto run = [](void *box, void *where) {
            auto server = static_cast<cb_server *>(box);
            auto connections = static_cast<cb_loop *>(where)->connections();
            for (auto connection : connections) {
                if (connection->belongs_to(*server)) connection->close();
            }
            server->release();
        };
        if (!loop->post({run, this, loop})) release();
    }
}

extern "C" {
cb_server *cb_server_new(
    cb_loop *const *loops, size_t count, const cb_server_options *options, void *context, cb_request_fn on_request,
    cb_release_fn ended, cb_release_fn released) {
    auto shortest = std::min(
        {options->idle_ns, options->header_read_ns, options->body_read_ns, options->write_ns, options->linger_ns});
    std::vector<cb_loop *> list(loops, loops + count);
    for (auto loop : list) loop->limit_tick(shortest / 4);
    return new cb_server(std::move(list), *options, context, on_request, ended, released);
}
void cb_server_release(cb_server *server) {
    server->abort();
    server->release();
}
int cb_server_bind(cb_server *server, const char *host, uint16_t port, uint16_t *actual, bool *resolver) {
    return server->bind(host, port, *actual, *resolver);
}
void cb_server_drain(cb_server *server, void *context, cb_release_fn done) { server->drain(context, done); }
void cb_server_abort(cb_server *server) { server->abort(); }
size_t cb_server_open(const cb_server *server) { return server->open.load(std::memory_order_relaxed); }
uint64_t cb_server_accepted(const cb_server *server) { return server->accepted_count.load(std::memory_order_relaxed); }
uint64_t cb_server_refused(const cb_server *server) { return server->refused_count.load(std::memory_order_relaxed); }
}
