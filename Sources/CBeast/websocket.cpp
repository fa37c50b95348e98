#include "websocket.hpp"

#include <netinet/tcp.h>
#include <openssl/rand.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/beast/websocket/detail/mask.hpp>
#include <cstring>
#include <utility>

#include "server.hpp"

namespace {
/// A mask that nobody can know before, so that a page cannot write bytes of its choice through a proxy.
std::array<unsigned char, 4> next_mask() {
    thread_local std::array<unsigned char, 1024> random;
    thread_local size_t used = random.size();
    if (used == random.size()) {
        RAND_bytes(random.data(), int(random.size()));
        used = 0;
    }
    std::array<unsigned char, 4> mask;
    std::memcpy(mask.data(), random.data() + used, 4);
    used += 4;
    return mask;
}
}  // namespace

cb_websocket::cb_websocket(cb_loop &loop, cb_server *server, const cb_websocket_options &options, Terms terms)
    : keeper_(loop), loop_(loop), server_(server), options_(options), socket_(loop.io),
      reader_(server != nullptr, options.message_max, options.refuses_messages),
      subprotocol_(std::move(terms.subprotocol)) {
    if (server_) server_->retain();
    retain();  // the caller's
    auto &deflate = terms.deflate;
    if (!deflate.is_agreed) return;
    deflates_ = true;
    deflates_alike_ = !deflate.keeps_context_out && deflate.window_bits_out == 15;
    if (!deflates_alike_)
        deflater_ = std::make_unique<cb::Deflater>(
            deflate.keeps_context_out, deflate.window_bits_out, options.level);
    reader_.use(std::make_unique<cb::Inflater>(deflate.keeps_context_in, deflate.window_bits_in));
}

cb_websocket::~cb_websocket() {
    if (server_) server_->release();
}

void cb_websocket::start(int descriptor, bool is_v6, std::string_view unsent) {
    auto &times = options_;
    loop_.limit_tick(std::min({times.ping_ns, times.pong_ns, times.close_ns, times.write_ns, times.message_ns}) / 4);
    boost::system::error_code error;
    socket_.assign(is_v6 ? tcp::v6() : tcp::v4(), descriptor, error);
    if (error) ::close(descriptor);
    loop_.add(this);
    if (loop_.is_stopping() || error) return close();
    int one = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    heard_ns_ = loop_.now_ns();
    enter(State::open, options_.ping_ns);
    if (unsent.empty()) return;
    out_.append(unsent);
    need_flush();
}

void cb_websocket::add_received(std::string_view bytes) {
    if (bytes.empty() || !is_reading()) return;
    in_ += bytes;
    if (events_) need_processing();
}

void cb_websocket::attach(void *context, const cb_websocket_events *events) {
    context_ = context;
    events_ = events;
    retain();  // until `closed` is called
    if (state_ == State::closed) return tell_closed(cb::close_code::lost, {}, ECANCELED);
    if (state_ != State::open) tell_closing();
    in_.empty() ? wait_to_read() : need_processing();
}

void cb_websocket::enter(State state, int64_t time_ns) {
    state_ = state;
    if (state != State::open) message_deadline_ns_ = INT64_MAX;
    state_deadline_ns_ = time_ns > 0 ? loop_.now_ns() + time_ns : INT64_MAX;
    set_deadline();
}

// MARK: Ending

void cb_websocket::end(int error, bool reset) {
    if (state_ == State::closed) return;
    state_ = State::closed;
    deadline_ns = INT64_MAX;
    boost::system::error_code ignored;
    if (reset) socket_.set_option(boost::asio::socket_base::linger(true, 0), ignored);
    socket_.close(ignored);
    in_ = {};
    out_.clear();
    if (events_) tell_closed(cb::close_code::lost, {}, error);
    if (server_) server_->closed();
    loop_.remove(this);
}

void cb_websocket::tell_closing() {
    if (events_ && !has_told_) events_->closing(context_);
}

/// Later, so that whoever ends it is not called from inside that call.
void cb_websocket::tell_closed(int code, std::string_view reason, int error) {
    if (has_told_ || !events_) return;
    has_told_ = true;
    struct Closed {
        cb_websocket *socket;
        int code;
        std::string reason;
        int error;
    };
    auto run = [](void *box, void *) {
        auto closed = static_cast<Closed *>(box);
        auto socket = closed->socket;
        auto reason = reinterpret_cast<const uint8_t *>(closed->reason.data());
        socket->events_->closed(socket->context_, closed->code, reason, closed->reason.size(), closed->error);
        socket->release();
        delete closed;
    };
    auto closed = new Closed{this, code, std::string(reason), error};
    if (!loop_.post({run, closed, nullptr})) run(closed, nullptr);
}

void cb_websocket::close(int code, std::string_view reason) {
    if (state_ != State::open) return;
    append_close(code, reason);
    // The other side's time begins when the close frame is sent; until then that to write counts.
    enter(State::closing, 0);
    // What is not taken yet is dropped now: the other side's close frame may stand behind it.
    paused_ = false;
    if (processing_ || !events_) return;
    in_.empty() ? wait_to_read() : need_processing();
}

void cb_websocket::drain() {
    if (state_ != State::open) return;
    close(cb::close_code::going_away, {});
    tell_closing();
}

void cb_websocket::received_close() {
    int code = reader_.close_code;
    if (state_ == State::open) append_close(code, {});
    finish();
    tell_closing();
    tell_closed(code, reader_.payload, 0);
}

/// The other side does what it must not.
void cb_websocket::fail(int code, std::string_view reason) {
    if (state_ == State::open) append_close(code, reason);
    finish();
    tell_closing();
    tell_closed(code, {}, 0);
}

void cb_websocket::finish() {
    enter(State::finishing, 0);
    need_flush();
}

// MARK: Reading

void cb_websocket::resume() {
    if (!paused_) return;
    paused_ = false;
    if (!is_reading() || processing_ || !events_) return;
    heard();  // as far as can be known: nobody listened
    read_on();
}

/// Goes on where the other side was held.
void cb_websocket::read_on() {
    if (message_deadline_ns_ != INT64_MAX) message_deadline_ns_ = loop_.now_ns() + options_.message_ns;
    set_deadline();
    in_.empty() ? wait_to_read() : need_processing();
}

void cb_websocket::wait_to_read() {
    cb::wait_until_ready(
        this, socket_, tcp::socket::wait_read, &cb_websocket::waiting_to_read_, &cb_websocket::on_readable);
}

/// The other side is there. The time until the next ping is looked at when it may be over.
void cb_websocket::heard() {
    heard_ns_ = loop_.now_ns();
    if (!is_pinged_ || state_ != State::open) return;
    is_pinged_ = false;
    enter(State::open, options_.ping_ns);
}

void cb_websocket::on_readable() {
    if (is_reading() && is_held()) return;  // the end of that calls again
    auto &scratch = loop_.scratch;
    auto n = ::recv(socket_.native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return wait_to_read();
        return end(errno, false);
    }
    if (n == 0) return end(0, false);
    if (!is_reading()) {
        discarded_ += size_t(n);
        if (discarded_ > discarded_max) return end(ECONNABORTED, true);
        return wait_to_read();
    }
    heard();
    if (in_.empty()) return process(scratch.data(), size_t(n), false);
    in_.append(scratch.data(), size_t(n));
    process(in_.data(), in_.size(), true);
}

void cb_websocket::process_ready() {
    if (!is_reading() || is_held()) return;
    process(in_.data(), in_.size(), true);
}

void cb_websocket::process(char *bytes, size_t count, bool from_in) {
    // What the owner is told may take away its own last hold of this.
    boost::intrusive_ptr self(this);
    processing_ = true;
    char *at = bytes, *end = bytes + count;
    int messages = 0;
    while (is_reading() && at < end && !is_held() && messages++ < messages_per_turn_max) {
        if (!step(at, end)) break;
    }
    processing_ = false;
    if (state_ == State::open) limit_message();
    if (!is_reading()) {
        in_ = {};
        if (state_ != State::closed) wait_to_read();
        return;
    }
    if (from_in) {
        in_.erase(0, size_t(at - bytes));
    } else {
        in_.assign(at, size_t(end - at));
    }
    if (in_.empty()) in_ = {};
    if (is_held()) return;  // the end of that calls again
    in_.empty() ? wait_to_read() : need_processing();
}

/// What has begun must come to its end, and the time for it begins once.
void cb_websocket::limit_message() {
    if (!reader_.is_inside()) {
        message_deadline_ns_ = INT64_MAX;
    } else if (message_deadline_ns_ == INT64_MAX) {
        message_deadline_ns_ = loop_.now_ns() + options_.message_ns;
    }
    set_deadline();
}

/// False when it needs more, or has failed.
bool cb_websocket::step(char *&at, char *end) {
    using Step = cb::MessageReader::Step;
    auto payload = [this] { return reinterpret_cast<const uint8_t *>(reader_.payload.data()); };
    auto step = reader_.next(at, end);
    if (step != Step::more && !reader_.is_inside()) message_deadline_ns_ = INT64_MAX;
    switch (step) {
        case Step::more: return false;
        case Step::message:
            if (state_ == State::open)
                events_->received(context_, reader_.is_text, payload(), reader_.payload.size());
            reader_.drop_message();
            return true;
        case Step::ping:
            if (state_ == State::open) append_frame(cb::Opcode::pong, false, reader_.payload);
            return true;
        case Step::pong: return true;
        case Step::close: received_close(); return false;
        case Step::failed: fail(reader_.close_code); return false;
    }
    return false;
}

// MARK: Writing

void cb_websocket::append_frame(cb::Opcode opcode, bool is_deflated, std::string_view payload) {
    uint8_t header[cb::header_max];
    size_t count = cb::write_header(header, opcode, is_deflated, is_client(), payload.size());
    std::array<unsigned char, 4> mask;
    if (is_client()) {
        mask = next_mask();
        std::memcpy(header + count, mask.data(), 4);
        count += 4;
    }
    auto room = out_.append(count + payload.size());
    std::memcpy(room, header, count);
    if (!payload.empty()) std::memcpy(room + count, payload.data(), payload.size());
    if (is_client())
        boost::beast::websocket::detail::mask_inplace(
            boost::asio::mutable_buffer(room + count, payload.size()), mask);
    need_flush();
}

void cb_websocket::append_close(int code, std::string_view reason) {
    char payload[cb::control_max];
    size_t count = 0;
    if (code != cb::close_code::none) {
        payload[0] = char(code >> 8);
        payload[1] = char(code);
        count = 2 + reason.copy(payload + 2, sizeof payload - 2);
    }
    append_frame(cb::Opcode::close, false, {payload, count});
}

bool cb_websocket::send(bool is_text, std::string_view payload) {
    if (state_ != State::open) return false;
    auto opcode = is_text ? cb::Opcode::text : cb::Opcode::binary;
    if (!deflates_ || payload.size() < options_.deflate_min) {
        append_frame(opcode, false, payload);
        return true;
    }
    std::string body;
    auto &deflater = deflater_ ? *deflater_ : cb::Deflater::of_thread(options_.level);
    if (!deflater.add(payload, body)) {
        end(ENOMEM, false);
        return false;
    }
    append_frame(opcode, true, body);
    return true;
}

bool cb_websocket::send(cb_frame *frame) {
    if (state_ != State::open) return false;
    bool deflates = deflates_ && frame->payload().size() >= options_.deflate_min;
    if (is_client() || (deflates && !deflates_alike_)) return send(frame->is_text, frame->payload());
    auto bytes = deflates ? frame->deflated(options_.level) : frame->plain();
    out_.append_shared(frame, bytes.empty() ? frame->plain() : bytes);
    need_flush();
    return true;
}

bool cb_websocket::ping(std::string_view payload) {
    if (state_ != State::open || payload.size() > cb::control_max) return false;
    append_frame(cb::Opcode::ping, false, payload);
    return true;
}

void cb_websocket::tell_below(size_t count) {
    tells_ = true;
    tell_below_ = count;
}

void cb_websocket::wait_to_write() {
    cb::wait_until_ready(
        this, socket_, tcp::socket::wait_write, &cb_websocket::waiting_to_write_, &cb_websocket::need_flush);
}

void cb_websocket::flush() {
    if (state_ == State::closed || state_ == State::lingering) return;
    bool was_full = is_output_full();
    while (out_.count() > 0) {
        // Behind bytes that the system did not take there is no room for these either.
        if (waiting_to_write_) break;
        iovec parts[parts_per_write_max];
        msghdr message{};
        message.msg_iov = parts;
        message.msg_iovlen = size_t(out_.front(parts, parts_per_write_max));
        auto n = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            out_.drop_first(size_t(n));
            // Enough of it for the reader to have its time again; a byte now and then is not.
            taken_ += size_t(n);
            if (taken_ >= taken_per_write_time) write_deadline_ns_ = INT64_MAX;
            continue;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) return end(errno, false);
        if (write_deadline_ns_ == INT64_MAX) {
            write_deadline_ns_ = loop_.now_ns() + options_.write_ns;
            taken_ = 0;
        }
        wait_to_write();
    }
    if (out_.count() == 0) {
        write_deadline_ns_ = INT64_MAX;
        if (state_ == State::closing && state_deadline_ns_ == INT64_MAX) enter(State::closing, options_.close_ns);
    }
    set_deadline();
    if (state_ == State::finishing) {
        if (out_.count() == 0) all_sent();
        return;
    }
    if (tells_ && out_.count() <= tell_below_ && state_ == State::open) {
        tells_ = false;
        if (events_) events_->drained(context_);
    }
    if (!was_full || !is_reading() || is_held() || !events_) return;
    read_on();
}

void cb_websocket::all_sent() {
    // A connection that is closed with bytes unread is reset, and what was sent last is lost with it. The server ends
    // first: who does has to remember the connection for a while.
    enter(State::lingering, options_.close_ns);
    boost::system::error_code ignored;
    if (!is_client()) socket_.shutdown(tcp::socket::shutdown_send, ignored);
    wait_to_read();
}

void cb_websocket::on_deadline() {
    int64_t now = loop_.now_ns();
    if (write_deadline_ns_ <= now) {
        // Reset: the kernel must not keep what nobody reads.
        if (state_ != State::open || is_client()) return end(ETIMEDOUT, true);
        // A client that reads on finds why it is over, if it does so in as much time again.
        close(cb::close_code::try_again_later, "too slow");
        tell_closing();
        taken_ = 0;
        write_deadline_ns_ = now + options_.write_ns;
        return set_deadline();
    }
    if (state_ != State::open) return end(ETIMEDOUT, out_.count() > 0);
    if (message_deadline_ns_ <= now) {
        if (!is_held()) return fail(cb::close_code::policy, "the message did not come in time");
        message_deadline_ns_ = now + options_.message_ns;  // who is not read from cannot end it
    }
    if (state_deadline_ns_ > now) return set_deadline();
    // Who is not read from cannot be heard. One that does not take what it is sent has the time to write for it; of one
    // whose messages nobody takes, the system answers.
    bool is_answered = paused_ && is_pinged_ && is_acknowledged(state_deadline_ns_ - options_.pong_ns);
    if (is_output_full() || is_answered) heard();
    if (is_pinged_) return end(ETIMEDOUT, true);
    state_deadline_ns_ = heard_ns_ + options_.ping_ns;
    if (state_deadline_ns_ <= now) {
        append_frame(cb::Opcode::ping, false, {});
        is_pinged_ = true;
        state_deadline_ns_ = now + options_.pong_ns;
    }
    set_deadline();
}

/// Whether the other side's system has said something since then.
bool cb_websocket::is_acknowledged(int64_t since_ns) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (getsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
    // The system counts in ticks of up to 10 ms, and may have noticed the end without anybody asking.
    // Not the turn's time: a loop that is late must not make the other side so.
    int64_t last_ns = cb::boottime_ns() - int64_t(info.tcpi_last_ack_recv) * 1'000'000 + 10'000'000;
    return info.tcpi_state != TCP_CLOSE && last_ns >= since_ns;
}

extern "C" {
void cb_websocket_attach(cb_websocket *socket, void *context, const cb_websocket_events *events) {
    socket->attach(context, events);
}
void cb_websocket_release(cb_websocket *socket) {
    auto run = [](void *box, void *) {
        auto socket = static_cast<cb_websocket *>(box);
        if (!socket->is_attached()) socket->close();
        socket->release();
    };
    // A loop that has ended has closed the socket, and touches it no more.
    if (socket->loop().is_current() || !socket->loop().post({run, socket, nullptr})) run(socket, nullptr);
}
bool cb_websocket_send(cb_websocket *socket, bool is_text, const void *bytes, size_t count) {
    return socket->send(is_text, {static_cast<const char *>(bytes), count});
}
bool cb_websocket_send_frame(cb_websocket *socket, cb_frame *frame) { return socket->send(frame); }
bool cb_websocket_ping(cb_websocket *socket, const void *bytes, size_t count) {
    return socket->ping({static_cast<const char *>(bytes), count});
}
size_t cb_websocket_unsent(const cb_websocket *socket) { return socket->unsent(); }
void cb_websocket_tell_below(cb_websocket *socket, size_t count) { socket->tell_below(count); }
void cb_websocket_pause(cb_websocket *socket) { socket->pause(); }
void cb_websocket_resume(cb_websocket *socket) { socket->resume(); }
void cb_websocket_close(cb_websocket *socket, int code, const void *reason, size_t count) {
    socket->close(code, {static_cast<const char *>(reason), count});
}
void cb_websocket_abort(cb_websocket *socket) { socket->end(ECANCELED, true); }
cb_bytes cb_websocket_subprotocol(const cb_websocket *socket) {
    auto &text = socket->subprotocol();
    return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}
bool cb_websocket_deflates(const cb_websocket *socket) { return socket->deflates(); }
}
