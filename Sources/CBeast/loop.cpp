#include "loop.hpp"

#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

thread_local cb_loop *cb_loop::current_ = nullptr;

namespace cb {
int64_t boottime_ns() {
    timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}
}  // namespace cb

cb_loop::cb_loop(const char *name) : scratch(64 * 1024), name_(name) {
    now_ns_ = cb::boottime_ns();
    int bell = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    boost::system::error_code error;
    if (bell >= 0) bell_.assign(bell, error);
    if (error) ::close(bell);
}

cb_loop::~cb_loop() {
    if (thread_.joinable()) thread_.detach();
}

void cb_loop::release() {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

bool cb_loop::start(void *given, cb_release_fn ended) {
    if (!bell_.is_open()) return false;
    context = given;
    retain();  // the thread's own
    work_.emplace(io.get_executor());
    wait_for_bell();
    {
        std::lock_guard lock(mutex_);
        started_ = true;
    }
    try {
        thread_ = std::thread([this, ended] { run(ended); });
    } catch (const std::system_error &) {
        work_.reset();
        {
            std::lock_guard lock(mutex_);
            ended_ = true;
        }
        release();
        return false;
    }
    return true;
}

void cb_loop::run(cb_release_fn ended) {
    current_ = this;
    pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
    io.run();
    // Connections are closed and the work guard is gone: what is left are jobs, and jobs of jobs.
    for (bool more = true; more;) {
        drain_posted();
        while (drain_local()) {}
        io.restart();
        io.poll();
        while (!timers_.empty()) {
            auto timed = timers_.top();
            timers_.pop();
            timed.drop(timed.job);
        }
        std::lock_guard lock(mutex_);
        more = !posted_.empty() || local_head_ < local_.size();
        ended_ = !more;
    }
    current_ = nullptr;
    ended(context);
    release();
}

void cb_loop::stop() {
    post({[](void *self, void *) {
              auto loop = static_cast<cb_loop *>(self);
              if (loop->stopping_) return;
              loop->stopping_ = true;
              loop->work_.reset();
              loop->timer_.cancel();
              loop->tick_.cancel();
              for (auto &connection : loop->connections()) connection->close();
              auto closables = loop->closables_;
              for (auto closable : closables) closable->close();
              loop->io.stop();
          },
          this, nullptr});
}

void cb_loop::join() {
    if (thread_.joinable()) thread_.join();
}

bool cb_loop::post(cb::Job job) {
    if (is_current()) {
        local_.push_back(job);
        if (depth_ == 0 && !repost_) {  // outside of a turn: nobody would drain it
            repost_ = true;
            asio::post(io, [this] {
                Turn turn(*this);
                repost_ = false;
            });
        }
        return true;
    }
    {
        std::lock_guard lock(mutex_);
        if (ended_) return false;
        posted_.push_back(job);
        if (woken_) return true;
        woken_ = true;
        retain();  // until it is woken
    }
    // Not under the lock: the thread that wakes up takes it, and may take the processor from this one before. And not
    // in the middle of a job, which may have more for it.
    if (current_ && current_->depth_ > 0) {
        current_->sleepers_.push_back(this);
    } else {
        wake();
    }
    return true;
}

void cb_loop::wake() {
    const uint64_t one = 1;
    // It cannot fail: the counter is far from its end.
    [[maybe_unused]] auto n = ::write(bell_.native_handle(), &one, sizeof one);
    release();
}

void cb_loop::wait_for_bell() {
    bell_.async_read_some(asio::buffer(&rings_, sizeof rings_), [this](boost::system::error_code error, size_t) {
        if (error) return;
        {
            Turn turn(*this);
            drain_posted();
        }
        wait_for_bell();
    });
}

void cb_loop::wake_sleepers() {
    for (auto loop : sleepers_) loop->wake();
    sleepers_.clear();
}

bool cb_loop::schedule(const cb::Timed &timed) {
    auto insert = [](void *box, void *self) {
        auto loop = static_cast<cb_loop *>(self);
        auto timed = static_cast<cb::Timed *>(box);
        timed->order = loop->timer_order_++;
        loop->timers_.push(*timed);
        delete timed;
        loop->arm();
    };
    auto box = new cb::Timed(timed);
    if (is_current()) {
        insert(box, this);
        return true;
    }
    if (post({insert, box, this})) return true;
    delete box;
    return false;
}

void cb_loop::arm() {
    if (timers_.empty() || stopping_ || timers_.top().at_ns >= armed_for_ns_) return;
    armed_for_ns_ = timers_.top().at_ns;
    // At most an hour ahead: the steady timer does not count the time that the machine sleeps, this clock does.
    int64_t wait = std::clamp<int64_t>(armed_for_ns_ - cb::boottime_ns(), 0, 3'600'000'000'000);
    timer_.expires_after(std::chrono::nanoseconds(wait));
    timer_.async_wait([this](boost::system::error_code error) {
        if (error) return;
        Turn turn(*this);
        run_timers();
    });
}

void cb_loop::run_timers() {
    armed_for_ns_ = INT64_MAX;
    // Only what is due now: a timer that schedules another for now must not keep the loop here.
    int64_t now = cb::boottime_ns();
    uint64_t before = timer_order_;
    while (!timers_.empty() && timers_.top().at_ns <= now && timers_.top().order < before) {
        auto timed = timers_.top();
        timers_.pop();
        timed.fn(timed.job, nullptr);
    }
    arm();
}

void cb_loop::begin_turn() {
    if (depth_++ == 0) now_ns_ = cb::boottime_ns();
}

bool cb_loop::drain_local() {
    size_t run = 0;
    while (local_head_ < local_.size() && run++ < jobs_per_turn_max) {
        auto job = local_[local_head_++];
        job.fn(job.job, job.context);
        wake_sleepers();
    }
    if (local_head_ == local_.size()) {
        local_.clear();
        local_head_ = 0;
    } else if (local_head_ >= jobs_per_turn_max) {
        local_.erase(local_.begin(), local_.begin() + ptrdiff_t(local_head_));
        local_head_ = 0;
    }
    return run > 0;
}

void cb_loop::drain_posted() {
    {
        std::lock_guard lock(mutex_);
        taken_.swap(posted_);
        woken_ = false;
    }
    // Behind what this thread posted before: one order for all.
    local_.insert(local_.end(), taken_.begin(), taken_.end());
    taken_.clear();
}

void cb_loop::end_turn() {
    if (depth_ > 1) {
        depth_--;
        return;
    }
    wake_sleepers();
    for (int pass = 0; pass < passes_per_turn_max; pass++) {
        drain_local();
        process_ready();
        if (local_.empty() && ready_.empty()) {
            if (dirty_.empty()) break;
            flush(dirty_);
        }
    }
    flush(dirty_);
    flush_round_when_over();
    wake_sleepers();
    depth_--;
    if ((!local_.empty() || !ready_.empty() || !dirty_.empty()) && !repost_) {
        repost_ = true;
        asio::post(io, [this] {
            Turn turn(*this);
            repost_ = false;
        });
    }
}

void cb_loop::flush_round_when_over() {
    if (!dirty_of_round_.empty()) {
        if (turns_held_++ == 0) held_since_ns_ = now_ns_;
        if (turns_held_ >= turns_per_round_max || now_ns_ - held_since_ns_ > round_ns_max) flush_round();
    }
    // Behind everything that is ready: Asio looks at the system once more, without waiting, and calls this before what it
    // finds there. (Whoever was told that there is room again may have more.)
    if (dirty_of_round_.empty() || std::exchange(ends_round_, true)) return;
    asio::post(io, [this] {
        ends_round_ = false;
        Turn turn(*this);
        flush_round();
    });
}

void cb_loop::flush_round() {
    turns_held_ = 0;
    flush(dirty_of_round_);
}

void cb_loop::need_flush(cb::Sender *sender, std::vector<cb::Sender *> &dirty) {
    if (std::exchange(sender->flush_queued, true)) return;
    sender->retain();
    dirty.push_back(sender);
}

void cb_loop::need_processing(cb::Served *connection) {
    if (std::exchange(connection->ready_queued, true)) return;
    connection->retain();
    ready_.push_back(connection);
}

void cb_loop::process_ready() {
    ready_now_.swap(ready_);
    for (auto connection : ready_now_) {
        connection->ready_queued = false;
        connection->process_ready();
        connection->release();
    }
    ready_now_.clear();
    wake_sleepers();
}

void cb_loop::flush(std::vector<cb::Sender *> &dirty) {
    dirty_now_.swap(dirty);
    for (auto sender : dirty_now_) {
        sender->flush_queued = false;
        sender->flush();
        sender->release();
    }
    dirty_now_.clear();
}

void cb_loop::add(cb::Served *connection) {
    connection->retain();
    connection->index_in_loop = connections_.size();
    connections_.push_back(connection);
    if (!ticking_) start_ticking();
}

void cb_loop::remove(cb::Served *connection) {
    size_t at = connection->index_in_loop;
    connections_[at] = connections_.back();
    connections_[at]->index_in_loop = at;
    connections_.pop_back();
    connection->release();
}

void cb_loop::limit_tick(int64_t ns) {
    int64_t wanted = std::max<int64_t>(ns, 5'000'000);
    int64_t now = tick_ns_.load();
    while (wanted < now && !tick_ns_.compare_exchange_weak(now, wanted)) {}
}

void cb_loop::start_ticking() {
    ticking_ = true;
    tick_.expires_after(std::chrono::nanoseconds(tick_ns_.load()));
    tick_.async_wait([this](boost::system::error_code error) {
        if (error) return;
        Turn turn(*this);
        tick();
    });
}

void cb_loop::tick() {
    // Backwards: a connection that closes puts the last one in its place.
    for (size_t i = connections_.size(); i-- > 0;) {
        if (i < connections_.size() && connections_[i]->deadline_ns <= now_ns_) connections_[i]->on_deadline();
    }
    if (connections_.empty()) {
        ticking_ = false;
    } else {
        start_ticking();
    }
}

const std::string &cb_loop::date_line() {
    timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    if (t.tv_sec != date_second_) {
        date_second_ = t.tv_sec;
        tm parts;
        gmtime_r(&t.tv_sec, &parts);
        // Not strftime: its names follow the locale of the process.
        static const char *days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char *months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        char line[80];
        int n = snprintf(
            line, sizeof line, "Date: %s, %02d %s %04d %02d:%02d:%02d GMT\r\n", days[parts.tm_wday], parts.tm_mday,
            months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
        date_line_.assign(line, size_t(n));
    }
    return date_line_;
}

extern "C" {
cb_loop *cb_loop_new(const char *name) { return new cb_loop(name); }
void cb_loop_release(cb_loop *loop) { loop->release(); }
bool cb_loop_start(cb_loop *loop, void *context, cb_release_fn ended) { return loop->start(context, ended); }
void cb_loop_stop(cb_loop *loop) { loop->stop(); }
void cb_loop_join(cb_loop *loop) { loop->join(); }
bool cb_loop_is_current(const cb_loop *loop) { return loop->is_current(); }
cb_loop *cb_loop_current(void) { return cb_loop::current(); }
void *cb_loop_context(const cb_loop *loop) { return loop->context; }
bool cb_loop_post(cb_loop *loop, cb_job_fn fn, void *job, void *context) { return loop->post({fn, job, context}); }
bool cb_loop_schedule(cb_loop *loop, int64_t at_ns, cb_job_fn fn, cb_release_fn drop, void *job) {
    return loop->schedule({at_ns, 0, fn, drop, job});
}
int64_t cb_clock_boottime_ns(void) { return cb::boottime_ns(); }
int64_t cb_clock_realtime_ms(void) {
    timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return int64_t(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
}
}
