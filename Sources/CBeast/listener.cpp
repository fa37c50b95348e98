#include <unistd.h>

#include <mutex>

#include "acceptor.hpp"
#include "stream.hpp"

/// Hands what its acceptors accept to the loops in turn.
struct cb_listener final : cb::AcceptSink {
    cb_listener(
        std::vector<cb_loop *> loops, size_t streams_max, void *context, cb_accepted_fn accepted, cb_starved_fn starved,
        cb_release_fn released)
        : loops_(std::move(loops)), streams_max_(streams_max), context_(context), accepted_(accepted),
          starved_(starved), released_(released) {
        for (auto loop : loops_) loop->retain();
    }

    ~cb_listener() override {
        released_(context_);
        for (auto loop : loops_) loop->release();
    }

    void retain() override { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() override {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    int bind(const char *host, uint16_t port, uint16_t &actual, bool &resolver) {
        cb::Listening listening;
        if (int error = listening.open(host, port, resolver)) return error;
        actual = listening.port;
        auto acceptor = std::make_shared<cb::Acceptor>(*loops_[0], *this, listening);
        std::lock_guard lock(mutex_);
        if (closed_ || !acceptor->launch()) return ECANCELED;
        acceptors_.push_back(std::move(acceptor));
        return 0;
    }

    void close() {
        std::lock_guard lock(mutex_);
        closed_ = true;
        for (auto &acceptor : acceptors_) acceptor->end();
        acceptors_.clear();
    }

    void accepted(int descriptor, const sockaddr_in6 &remote) override {
        if (open_->fetch_add(1) >= streams_max_) {
            open_->fetch_sub(1);
            ::close(descriptor);
            return;
        }
        // Given back with the stream, wherever that ends.
        cb::Place place(nullptr, [open = open_](void *) { open->fetch_sub(1); });
        hand_over(new Handover{this, loops_[next_loop_++ % loops_.size()], descriptor, remote, std::move(place)});
    }

    void starved(int error) override { starved_(context_, error); }

private:
    struct Handover {
        cb_listener *listener;
        cb_loop *loop;
        int descriptor;
        sockaddr_in6 remote;
        cb::Place place;
    };

    const std::vector<cb_loop *> loops_;
    const size_t streams_max_;
    void *const context_;
    const cb_accepted_fn accepted_;
    const cb_starved_fn starved_;
    const cb_release_fn released_;
    std::atomic<int> references_{1};
    std::shared_ptr<std::atomic<size_t>> open_ = std::make_shared<std::atomic<size_t>>(0);
    size_t next_loop_ = 0;
    std::mutex mutex_;
    bool closed_ = false;
    std::vector<std::shared_ptr<cb::Acceptor>> acceptors_;

    void hand_over(Handover *handover) {
        auto run = [](void *box, void *) {
            auto h = static_cast<Handover *>(box);
            auto stream = new cb_stream(*h->loop, h->descriptor, h->remote, std::move(h->place));
            h->listener->accepted_(h->listener->context_, h->loop->context, stream);
            h->listener->release();
            delete h;
        };
        retain();
        if (handover->loop->post({run, handover, nullptr})) return;
        ::close(handover->descriptor);
        delete handover;
        release();
    }
};

extern "C" {
cb_listener *cb_listener_new(
    cb_loop *const *loops, size_t count, size_t streams_max, void *context, cb_accepted_fn accepted,
    cb_starved_fn starved, cb_release_fn released) {
    return new cb_listener(
        std::vector<cb_loop *>(loops, loops + count), streams_max, context, accepted, starved, released);
}
void cb_listener_release(cb_listener *listener) {
    listener->close();
    listener->release();
}
int cb_listener_bind(cb_listener *listener, const char *host, uint16_t port, uint16_t *actual, bool *resolver) {
    return listener->bind(host, port, *actual, *resolver);
}
void cb_listener_close(cb_listener *listener) { listener->close(); }
}
