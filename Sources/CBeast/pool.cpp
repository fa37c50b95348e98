#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "cbeast.h"

namespace {
struct Work {
    cb_job_fn fn;
    void *job;
};

/// Shared by the handle and the threads, so that the handle can go while work still runs.
struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Work> queue;
    std::string name;
    size_t threads_max;
    size_t threads = 0;
    size_t waiting = 0;
    bool closed = false;
};

void serve(const std::shared_ptr<Shared> &shared) {
    pthread_setname_np(pthread_self(), shared->name.substr(0, 15).c_str());
    std::unique_lock lock(shared->mutex);
    for (;;) {
        shared->waiting++;
        shared->changed.wait(lock, [&] { return !shared->queue.empty() || shared->closed; });
        shared->waiting--;
        if (shared->queue.empty()) return;
        auto work = shared->queue.front();
        shared->queue.pop_front();
        lock.unlock();
        work.fn(work.job, nullptr);
        lock.lock();
    }
}
}  // namespace

struct cb_pool {
    std::shared_ptr<Shared> shared = std::make_shared<Shared>();
};

extern "C" {
cb_pool *cb_pool_new(size_t threads, const char *name) {
    auto pool = new cb_pool;
    pool->shared->threads_max = std::max<size_t>(threads, 1);
    pool->shared->name = name;
    return pool;
}

void cb_pool_post(cb_pool *pool, cb_job_fn fn, void *job) {
    auto &shared = pool->shared;
    std::lock_guard lock(shared->mutex);
    shared->queue.push_back({fn, job});
    // A thread is started when it is first needed; most nodes need one.
    if (shared->waiting < shared->queue.size() && shared->threads < shared->threads_max) {
        std::thread([shared] { serve(shared); }).detach();
        shared->threads++;
    }
    shared->changed.notify_one();
}

void cb_pool_release(cb_pool *pool) {
    {
        std::lock_guard lock(pool->shared->mutex);
        pool->shared->closed = true;
        pool->shared->changed.notify_all();
    }
    delete pool;
}
}
