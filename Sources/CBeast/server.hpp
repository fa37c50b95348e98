// Internal to CBeast. A server: its acceptors and what its connections share.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "acceptor.hpp"
#include "constant.hpp"

struct cb_server final : cb::AcceptSink {
    const cb_server_options options;
    void *const context;
    const cb_request_fn on_request;
    const cb_release_fn on_end;
    const std::vector<cb_loop *> loops;
    /// Of a server that answers without Swift.
    const std::unique_ptr<cb::Broadcast> broadcast;

    cb_server(
        std::vector<cb_loop *> loops, const cb_server_options &options, void *context, cb_request_fn on_request,
        cb_release_fn ended, cb_starved_fn starved, cb_release_fn released);
    ~cb_server() override;
    void retain() override { references_.fetch_add(1, std::memory_order_relaxed); }
    void release() override {
        if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

    int bind(const char *host, uint16_t port, uint16_t &actual, bool &resolver);
    void drain(void *context, cb_release_fn done);
    void abort();
    bool is_draining() const { return draining_.load(std::memory_order_relaxed); }

    /// Hands an accepted descriptor to the next loop. On the first loop's thread.
    void accepted(int descriptor, const sockaddr_in6 &remote) override;
    void starved(int error) override { starved_(context, error); }
    /// A connection has ended.
    void closed();

    std::atomic<size_t> open{0};
    std::atomic<uint64_t> accepted_count{0};
    std::atomic<uint64_t> refused_count{0};

    /// Counts an answer that was given without `on_request`.
    void count_refusal(int status) { refusals_.at(size_t(status - 400)).fetch_add(1, std::memory_order_relaxed); }
    uint64_t refusals(int status) const {
        return refusals_.at(size_t(status - 400)).load(std::memory_order_relaxed);
    }

private:
    struct Waiter {
        void *context;
        cb_release_fn done;
    };

    const cb_starved_fn starved_;
    const cb_release_fn released_;
    std::atomic<int> references_{1};
    std::atomic<bool> draining_{false};
    std::array<std::atomic<uint64_t>, 200> refusals_{};
    size_t next_loop_ = 0;
    std::mutex mutex_;
    bool has_stopped_accepting_ = false;
    std::vector<std::shared_ptr<cb::Acceptor>> acceptors_;
    std::vector<Waiter> waiters_;

    void stop_accepting();
    void tell_waiters();
};
