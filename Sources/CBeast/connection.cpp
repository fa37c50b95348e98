#include "connection.hpp"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "server.hpp"

namespace cb {
Connection::Connection(cb_loop &loop, cb_server &server, int descriptor, const sockaddr_in6 &remote)
    : loop_(loop), server_(server), socket_(loop.io), remote_(remote) {
    boost::system::error_code error;
    socket_.assign(remote.sin6_family == AF_INET6 ? tcp::v6() : tcp::v4(), descriptor, error);
    if (error) ::close(descriptor);
    server_.retain();
}

Connection::~Connection() { server_.release(); }

void Connection::start() {
    loop_.add(this);
    if (loop_.is_stopping() || !socket_.is_open()) return close();
    wait_for_request();
    wait_to_read();
}

void Connection::refuse() {
    loop_.add(this);
    if (loop_.is_stopping() || !socket_.is_open()) return close();
    fail(503, "The server has too many connections.");
}

void Connection::drain() {
    // Who has a request on its way gets an answer, and hears from that to go elsewhere.
    if (state_ == State::idle) wait_for_request();
    if (state_ == State::streaming) body_->events->draining(body_->context);
}

bool Connection::is_draining() const { return server_.is_draining(); }
bool Connection::is_output_full() const { return out_.size() - sent_ > server_.options.unsent_max; }

void Connection::enter(State state, int64_t time_ns) {
    state_ = state;
    state_deadline_ns_ = time_ns > 0 ? loop_.now_ns() + time_ns : INT64_MAX;
    set_deadline();
}

void Connection::wait_for_request() {
    auto idle = server_.options.idle_ns;
    enter(State::idle, server_.is_draining() ? std::min(idle, farewell_ns) : idle);
}

void Connection::drop_exchange() {
    if (!exchange_) return;
    // Swift may go on holding it: then its answer goes nowhere.
    exchange_->connection = nullptr;
    exchange_->release();
    exchange_ = nullptr;
}

void Connection::close() {
    if (state_ == State::closed) return;
    state_ = State::closed;
    deadline_ns = INT64_MAX;
    drop_exchange();
    // Without chunks the client would take the end of the connection for that of the body.
    if (body_ && !body_->is_chunked) reset_when_closed();
    drop_body();
    if (handler_) server_.on_end(std::exchange(handler_, nullptr));
    boost::system::error_code ignored;
    socket_.close(ignored);
    in_ = {};
    out_ = {};
    sent_ = 0;
    if (!upgraded_) server_.closed();
    loop_.remove(this);
}

void Connection::reset_when_closed() {
    boost::system::error_code ignored;
    socket_.set_option(boost::asio::socket_base::linger(true, 0), ignored);
}

// MARK: Reading

void Connection::wait_to_read() {
    wait_until_ready(this, socket_, tcp::socket::wait_read, &Connection::waiting_to_read_, &Connection::on_readable);
}

void Connection::on_readable() {
    if (state_ == State::streaming) return read_ahead();
    if (!is_reading() && state_ != State::lingering) return;
    auto &scratch = loop_.scratch;
    auto n = ::recv(socket_.native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return wait_to_read();
        return close();
    }
    if (state_ == State::lingering) {
        discarded_ += size_t(n);
        if (n == 0 || discarded_ > discarded_max) return close();
        return wait_to_read();
    }
    if (n == 0) {
        // It sends no more. Answers that are still to be sent may be read.
        drop_exchange();
        if (out_.empty()) return close();
        return enter(State::closing, 0);
    }
    std::string_view bytes(scratch.data(), size_t(n));
    if (in_.empty()) return process(bytes, false);
    in_.append(bytes);
    process(in_, true);
}

void Connection::process_ready() {
    if (!is_reading()) return;
    process(in_, true);
}

void Connection::process(std::string_view bytes, bool from_in) {
    processing_ = true;
    stalled_ = false;
    size_t used = 0;
    int answers = 0;
    while (is_reading() && used < bytes.size()) {
        if (state_ == State::idle && (is_output_full() || answers >= requests_per_turn_max)) {
            stalled_ = true;
            break;
        }
        size_t n = step(bytes.substr(used));
        if (n == 0) break;
        used += n;
        if (state_ == State::idle) answers++;
    }
    processing_ = false;
    if (upgraded_) return leave(bytes.substr(used));
    if (state_ == State::closed || state_ == State::closing) {
        in_ = {};
        return;
    }
    if (from_in) {
        in_.erase(0, used);
    } else {
        in_.assign(bytes.substr(used));
    }
    if (in_.empty() && in_.capacity() > kept_capacity_max) in_ = {};
    // After output comes the flush, which goes on from there.
    if (!is_reading() || flush_queued) return;
    if (stalled_) {
        if (!is_output_full()) need_processing();
    } else {
        wait_to_read();
    }
}

size_t Connection::step(std::string_view bytes) {
    auto &options = server_.options;
    switch (state_) {
        case State::idle:
            // RFC 9112, 2.2: an empty line in front of a request line is ignored. It does not restart the idle time.
            if (bytes.substr(0, 2) == "\r\n") return 2;
            scan_ = {};
            enter(State::head, options.header_read_ns);
            return step_head(bytes);
        case State::head: return step_head(bytes);
        case State::body: {
            size_t n = std::min(body_left_, bytes.size());
            exchange_->body.append(bytes.substr(0, n));
            body_left_ -= n;
            if (body_left_ == 0) dispatch();
            return n;
        }
        case State::chunked: {
            size_t n = chunks_.feed(bytes, exchange_->body, options.body_max, options.header_section_max);
            if (chunks_.status()) {
                fail(chunks_.status(), chunks_.detail());
            } else if (chunks_.is_done()) {
                dispatch();
            }
            return n;
        }
        default: return 0;
    }
}

size_t Connection::step_head(std::string_view bytes) {
    auto &options = server_.options;
    switch (scan_.advance(bytes, options)) {
        case HeadScan::Result::more: return 0;
        case HeadScan::Result::failed: fail(scan_.status, scan_.detail); return 0;
        case HeadScan::Result::complete: break;
    }
    size_t used = scan_.end;
    exchange_ = new cb_exchange(&loop_, this, remote_);
    const char *detail = "";
    if (int status = exchange_->parse(bytes.substr(0, used), options, detail)) {
        fail(status, detail);
        return 0;
    }
    if (!exchange_->is_chunked && exchange_->content_length == 0) {
        dispatch();
        return used;
    }
    if (exchange_->expects_continue && bytes.size() == used) {
        out_ += "HTTP/1.1 100 Continue\r\n\r\n";
        need_flush();
    }
    if (exchange_->is_chunked) {
        chunks_ = {};
        enter(State::chunked, options.body_read_ns);
    } else {
        body_left_ = size_t(exchange_->content_length);
        // Not all at once: what is announced need not come.
        exchange_->body.reserve(std::min<size_t>(body_left_, 64 * 1024));
        enter(State::body, options.body_read_ns);
    }
    return used;
}

// MARK: Answering

void Connection::dispatch() {
    enter(State::handling, 0);
    if (server_.options.constant) {
        const char *detail = nullptr;
        if (cb_exchange_websocket(exchange_, &detail) == 0) return server_.broadcast->accept(exchange_);
        static const std::string body(100, 'x');
        exchange_->begin(200);
        exchange_->add_header("Content-Type", "application/json");
        exchange_->add_header("ETag", "\"17\"");
        return exchange_->end(body);
    }
    exchange_->retain();
    server_.on_request(server_.context, loop_.context, &handler_, exchange_);
}

void Connection::answered(bool keep_alive) {
    drop_exchange();
    need_flush();
    if (!keep_alive) {
        linger_ = true;
        return enter(State::closing, 0);
    }
    wait_for_request();
    if (!processing_ && !in_.empty()) need_processing();
}

void Connection::fail(int status, const char *detail) {
    server_.count_refusal(status);
    append_problem(out_, loop_, status, detail, true, exchange_ && exchange_->is_head);
    drop_exchange();
    // A connection that is closed with bytes unread is reset, and the answer is lost with it.
    linger_ = true;
    enter(State::closing, 0);
    need_flush();
}

// MARK: Streamed answers

void Connection::begin_body(void *context, const cb_body_events *events, bool is_chunked, bool keep_alive) {
    body_ = std::make_unique<Body>(Body{context, events, is_chunked, keep_alive});
    retain();  // until `closed` is called
    enter(State::streaming, 0);
    need_flush();
    // Who begins while the server drains was not among those that were told.
    if (is_draining()) events->draining(context);
}

bool Connection::append_body(std::string_view bytes) {
    if (state_ != State::streaming) return false;
    if (bytes.empty()) return true;
    body_->is_chunked ? append_chunk(out_, bytes) : void(out_.append(bytes));
    need_flush();
    return true;
}

void Connection::tell_below(size_t count) {
    if (!body_) return;
    body_->tells = true;
    body_->tell_below = count;
}

void Connection::end_body(bool complete) {
    if (state_ != State::streaming) return;
    if (!complete && !body_->is_chunked) return close();
    bool keep_alive = body_->keep_alive && complete && !is_draining();
    if (complete && body_->is_chunked) out_ += "0\r\n\r\n";
    drop_body();
    answered(keep_alive);
}

/// Later, so that whoever ends it is not called from inside that call.
void Connection::drop_body() {
    if (!body_) return;
    struct Ended {
        Connection *connection;
        std::unique_ptr<Body> body;
    };
    auto run = [](void *box, void *) {
        auto ended = static_cast<Ended *>(box);
        ended->body->events->closed(ended->body->context);
        ended->connection->release();
        delete ended;
    };
    auto ended = new Ended{this, std::move(body_)};
    if (!loop_.post({run, ended, nullptr})) run(ended, nullptr);
}

/// Notices that the client has gone, and keeps what it sends for later.
void Connection::read_ahead() {
    if (in_.size() >= server_.options.header_section_max) return;
    auto &scratch = loop_.scratch;
    auto n = ::recv(
        socket_.native_handle(), scratch.data(), std::min<size_t>(scratch.size(), kept_capacity_max), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return wait_to_read();
    if (n < 0) return close();
    if (n == 0) return wait_for_reset();
    in_.append(scratch.data(), size_t(n));
    wait_to_read();
}

/// The client sends no more, which does not say that it reads no more. One that has gone answers with a reset to what it
/// is sent; where nothing is, the system asks it.
void Connection::wait_for_reset() {
    input_ended_ = true;
    int on = 1, time = probe_time, count = probes_max;
    auto descriptor = socket_.native_handle();
    setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &time, sizeof time);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &time, sizeof time);
    setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    socket_.async_wait(tcp::socket::wait_error, [self = boost::intrusive_ptr(this)](boost::system::error_code) {
        cb_loop::Turn turn(self->loop_);
        self->close();
    });
}

// MARK: WebSocket

cb_websocket *Connection::upgrade(const cb_websocket_options &options, cb_websocket::Terms terms) {
    if (state_ != State::handling || upgraded_) return nullptr;
    auto websocket = new cb_websocket(loop_, &server_, options, std::move(terms));
    upgraded_ = websocket;
    boost::system::error_code error;
    int descriptor = socket_.release(error);
    websocket->start(descriptor, remote_.sin6_family == AF_INET6, std::string_view(out_).substr(sent_));
    out_ = {};
    sent_ = 0;
    // What the client has sent behind its request is known when that has been processed.
    if (!processing_) leave(in_);
    return websocket;
}

void Connection::leave(std::string_view received) {
    upgraded_->add_received(received);
    if (server_.is_draining()) upgraded_->drain();
    close();
}

// MARK: Writing

void Connection::wait_to_write() {
    wait_until_ready(this, socket_, tcp::socket::wait_write, &Connection::waiting_to_write_, &Connection::need_flush);
}

void Connection::flush() {
    if (state_ == State::closed) return;
    while (sent_ < out_.size()) {
        auto n = ::send(
            socket_.native_handle(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent_ += size_t(n);
            // Enough of it for the reader to have its time again; a byte now and then is not.
            taken_ += size_t(n);
            if (taken_ >= taken_per_write_time) write_deadline_ns_ = INT64_MAX;
            continue;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) return close();
        if (write_deadline_ns_ == INT64_MAX) {
            write_deadline_ns_ = loop_.now_ns() + server_.options.write_ns;
            taken_ = 0;
        }
        set_deadline();
        // Answers that came since, behind a few that are sent, must not make the buffer grow without end.
        if (sent_ >= 256 * 1024) {
            out_.erase(0, sent_);
            sent_ = 0;
        }
        wait_to_write();
        break;
    }
    if (sent_ == out_.size()) {
        out_.clear();
        sent_ = 0;
        if (out_.capacity() > kept_capacity_max) out_ = {};
        write_deadline_ns_ = INT64_MAX;
        set_deadline();
        if (state_ == State::closing) {
            if (!linger_) return close();
            boost::system::error_code ignored;
            socket_.shutdown(tcp::socket::shutdown_send, ignored);
            enter(State::lingering, server_.options.linger_ns);
            return wait_to_read();
        }
    }
    if (state_ == State::streaming) {
        if (!input_ended_) wait_to_read();
        if (body_->tells && unsent() <= body_->tell_below) {
            body_->tells = false;
            body_->events->drained(body_->context);
        }
        return;
    }
    if (!is_reading()) return;
    if (is_output_full()) return;  // its end calls again
    if (stalled_) {
        need_processing();
    } else if (!ready_queued) {
        wait_to_read();
    }
}

void Connection::on_deadline() {
    if (write_deadline_ns_ <= loop_.now_ns()) {
        reset_when_closed();  // the kernel must not keep what nobody reads
        return close();
    }
    switch (state_) {
        case State::head: return fail(408, "The header section did not come in time.");
        case State::body:
        case State::chunked: return fail(408, "The body did not come in time.");
        case State::idle:
            // Not while an answer is under way: then the time to write counts.
            if (!out_.empty()) return wait_for_request();
            // A request that has just come would be lost, and nobody could tell whether it was carried out.
            on_readable();
            if (state_ == State::idle && out_.empty()) close();
            return;
        default: return close();
    }
}
}  // namespace cb
