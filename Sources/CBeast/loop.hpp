// Internal to CBeast. A loop: a thread with an io_context, driven in turns.
//
// A turn is one completion of Asio (bytes to read, a timer, a batch of posted jobs) with everything that follows from
// it on this thread: the jobs it posts here run before it ends, and then each connection with output sends it once.
// A round is the turns of what one look at the system has found ready. A stream that carries what many of them have for
// one peer is sent at its end.
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/intrusive_ptr.hpp>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <queue>
#include <string>
#include <thread>
#include <vector>

#include "cbeast.h"

namespace asio = boost::asio;

struct cb_server;

namespace cb {
int64_t boottime_ns();

/// Something open on a loop that must not outlast it.
struct Closable {
    virtual ~Closable() = default;
    virtual void close() = 0;
};

/// What has output that is sent at the end of a turn, or of a round. On its loop's thread only.
struct Sender {
    /// Whether it is among those that `flush` is going to be called of: the loop's to change.
    bool flush_queued = false;

    virtual ~Sender() = default;
    /// Sends what there is, as far as the system takes it.
    virtual void flush() = 0;
    void retain() { references_++; }
    void release() {
        if (--references_ == 0) delete this;
    }

private:
    int references_ = 0;
};

inline void intrusive_ptr_add_ref(Sender *sender) { sender->retain(); }
inline void intrusive_ptr_release(Sender *sender) { sender->release(); }

/// A connection with deadlines, one of a server's or a client's. On its loop's thread only.
struct Served : Sender {
    size_t index_in_loop = 0;
    /// Whether it is among those that `process_ready` is going to be called of: the loop's to change.
    bool ready_queued = false;
    /// When `on_deadline` is due, at the loop's next tick.
    int64_t deadline_ns = INT64_MAX;

    virtual void on_deadline() = 0;
    /// Goes on with what has been read and could not be processed.
    virtual void process_ready() = 0;
    /// Ends in an orderly way, soon.
    virtual void drain() = 0;
    /// Ends as it stands.
    virtual void close() = 0;
    virtual bool belongs_to(const cb_server &server) const = 0;
};

struct Job {
    cb_job_fn fn;
    void *job;
    void *context;
};

struct Timed {
    int64_t at_ns;
    uint64_t order;
    cb_job_fn fn;
    cb_release_fn drop;
    void *job;
    bool operator>(const Timed &other) const {
        return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
    }
};
}  // namespace cb

struct cb_loop {
    // The hint 1 says that one thread runs it; others still post.
    asio::io_context io{1};
    void *context = nullptr;

    explicit cb_loop(const char *name);
    ~cb_loop();

    void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
    void release();

    bool start(void *context, cb_release_fn ended);
    void stop();
    void join();
    bool is_current() const { return current_ == this; }
    static cb_loop *current() { return current_; }
    bool post(cb::Job job);
    bool schedule(const cb::Timed &timed);

    /// Wraps whatever Asio calls.
    struct Turn {
        cb_loop &loop;
        explicit Turn(cb_loop &l) : loop(l) { loop.begin_turn(); }
        ~Turn() { loop.end_turn(); }
    };

    // For connections, on the loop's thread only.
    void add(cb::Served *connection);
    void remove(cb::Served *connection);
    void add(cb::Closable *closable) { closables_.push_back(closable); }
    void remove(cb::Closable *closable) { std::erase(closables_, closable); }
    bool is_stopping() const { return stopping_; }
    /// Has `flush` called at the end of the turn, once however often it is needed; `process_ready` likewise.
    void need_flush(cb::Sender *sender) { need_flush(sender, dirty_); }
    /// Has `flush` called at the end of the round: for what carries the output of many turns.
    void need_flush_of_round(cb::Sender *sender) { need_flush(sender, dirty_of_round_); }
    /// The round is over with this turn.
    void end_round_soon() { turns_held_ = turns_per_round_max; }
    void need_processing(cb::Served *connection);
    /// Held, because what is done to one may end others.
    std::vector<boost::intrusive_ptr<cb::Served>> connections() const {
        return {connections_.begin(), connections_.end()};
    }
    int64_t now_ns() const { return now_ns_; }
    /// "Date: …\r\n" of this second.
    const std::string &date_line();
    /// Where a connection reads to; what is not used up by then is copied out.
    std::vector<char> scratch;
    /// At least so often the connections' deadlines are looked at. On any thread.
    void limit_tick(int64_t ns);

private:
    // Enough to be worth a turn, few enough that a job that posts itself does not keep the loop from reading.
    static constexpr size_t jobs_per_turn_max = 4096;
    static constexpr int passes_per_turn_max = 16;
    // Enough to share a system call, few and soon enough that the first does not wait long.
    static constexpr int turns_per_round_max = 16;
    static constexpr int64_t round_ns_max = 500'000;
    static thread_local cb_loop *current_;

    std::atomic<int> references_{1};
    std::string name_;
    std::thread thread_;

    std::mutex mutex_;
    std::vector<cb::Job> posted_;  // by other threads
    bool woken_ = false;
    bool ended_ = false;
    bool started_ = false;

    // The loop's own thread from here on.
    // Rung by other threads. Not Asio's own way of waking, which holds the scheduler's lock while it does it: the thread
    // that wakes up takes that lock first of all, and would sleep again.
    asio::posix::stream_descriptor bell_{io};
    uint64_t rings_ = 0;
    std::vector<cb::Job> taken_;
    std::vector<cb_loop *> sleepers_;  // that this thread has posted to, and has to wake
    std::vector<cb::Job> local_;
    size_t local_head_ = 0;
    bool repost_ = false;
    int depth_ = 0;
    bool stopping_ = false;
    std::vector<cb::Sender *> dirty_, dirty_of_round_, dirty_now_;
    int turns_held_ = 0;  // that what is sent at the end of the round has waited
    int64_t held_since_ns_ = 0;
    bool ends_round_ = false;  // whether the end of the round has been posted
    std::vector<cb::Served *> ready_, ready_now_;
    std::vector<cb::Served *> connections_;
    std::vector<cb::Closable *> closables_;
    std::priority_queue<cb::Timed, std::vector<cb::Timed>, std::greater<>> timers_;
    uint64_t timer_order_ = 0;
    int64_t armed_for_ns_ = INT64_MAX;
    asio::steady_timer timer_{io};
    asio::steady_timer tick_{io};
    bool ticking_ = false;
    std::atomic<int64_t> tick_ns_ = 250'000'000;
    int64_t now_ns_ = 0;
    int64_t date_second_ = -1;
    std::string date_line_;
    std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work_;

    void run(cb_release_fn ended);
    void wait_for_bell();
    void wake();
    void wake_sleepers();
    void begin_turn();
    void end_turn();
    void flush_round_when_over();
    void flush_round();
    bool drain_local();
    void drain_posted();
    void run_timers();
    void arm();
    void start_ticking();
    void tick();
    void process_ready();
    void need_flush(cb::Sender *sender, std::vector<cb::Sender *> &dirty);
    void flush(std::vector<cb::Sender *> &dirty);
};

namespace cb {
/// Keeps a loop. Whatever hangs on its io_context has one as its first member, which is destroyed last.
class Keeper {
public:
    explicit Keeper(cb_loop &loop) : loop_(loop) { loop_.retain(); }
    ~Keeper() { loop_.release(); }
    Keeper(const Keeper &) = delete;
    Keeper &operator=(const Keeper &) = delete;

private:
    cb_loop &loop_;
};
}  // namespace cb
