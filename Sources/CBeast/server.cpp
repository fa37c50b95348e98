#include "server.hpp"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "connection.hpp"

cb_server::cb_server(
    std::vector<cb_loop *> l, const cb_server_options &o, void *c, cb_request_fn f, cb_release_fn ended,
    cb_starved_fn starved, cb_release_fn released)
    : options(o), context(c), on_request(f), on_end(ended), loops(std::move(l)),
      broadcast(o.constant ? std::make_unique<cb::Broadcast>(loops) : nullptr), starved_(starved), released_(released) {
    for (auto loop : loops) loop->retain();
}

cb_server::~cb_server() {
    released_(context);
    for (auto loop : loops) loop->release();
}

int cb_server::bind(const char *host, uint16_t port, uint16_t &actual, bool &resolver) {
    cb::Listening listening;
    if (int error = listening.open(host, port, resolver)) return error;
    actual = listening.port;
    auto acceptor = std::make_shared<cb::Acceptor>(*loops[0], *this, listening);
    {
        std::lock_guard lock(mutex_);
        if (has_stopped_accepting_) return ECANCELED;
        acceptors_.push_back(acceptor);
    }
    if (!acceptor->launch()) {
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
        has_stopped_accepting_ = true;
        acceptors.swap(acceptors_);
    }
    for (auto &acceptor : acceptors) acceptor->end();
}

void cb_server::drain(void *waiter, cb_release_fn done) {
    {
        std::lock_guard lock(mutex_);
        waiters_.push_back({waiter, done});
    }
    stop_accepting();
    // Behind the acceptor's end in the first loop's order: nothing is accepted any more once the others are asked, and
    // clients who are told to go find nobody here to connect to.
    auto ask = [](void *box, void *) {
        auto server = static_cast<cb_server *>(box);
        server->draining_.store(true);
        for (auto loop : server->loops) {
            server->retain();
            auto run = [](void *box, void *where) {
                auto server = static_cast<cb_server *>(box);
                for (auto &connection : static_cast<cb_loop *>(where)->connections()) {
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
        draining_.store(true);
        tell_waiters();
        release();
    }
}

void cb_server::abort() {
    stop_accepting();
    draining_.store(true);
    for (auto loop : loops) {
        retain();
        auto run = [](void *box, void *where) {
            auto server = static_cast<cb_server *>(box);
            for (auto &connection : static_cast<cb_loop *>(where)->connections()) {
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
    cb_release_fn ended, cb_starved_fn starved, cb_release_fn released) {
    auto shortest = std::min(
        {options->idle_ns, options->header_read_ns, options->body_read_ns, options->write_ns, options->linger_ns});
    std::vector<cb_loop *> list(loops, loops + count);
    for (auto loop : list) loop->limit_tick(shortest / 4);
    return new cb_server(std::move(list), *options, context, on_request, ended, starved, released);
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
uint64_t cb_server_refusals(const cb_server *server, int status) { return server->refusals(status); }
uint64_t cb_server_refused(const cb_server *server) { return server->refused_count.load(std::memory_order_relaxed); }
}
