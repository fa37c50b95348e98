#include "stream.hpp"

#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>

#include "acceptor.hpp"

using boost::asio::ip::tcp;

cb_stream::cb_stream(cb_loop &loop) : keeper_(loop), loop_(loop), socket_(loop.io) { retain(); }

cb_stream::cb_stream(cb_loop &loop, int descriptor, const sockaddr_in6 &remote, cb::Place place) : cb_stream(loop) {
    remote_ = remote;
    place_ = std::move(place);
    accepted_ = true;
    boost::system::error_code error;
    socket_.assign(remote.sin6_family == AF_INET6 ? tcp::v6() : tcp::v4(), descriptor, error);
    if (error) ::close(descriptor);
}

cb_stream::~cb_stream() = default;

void cb_stream::attach(void *context, const cb_stream_events *events) {
    context_ = context;
    events_ = events;
    loop_.add(this);
    retain();  // until it is closed
    if (loop_.is_stopping()) return close();
    if (!accepted_) return;
    socket_.is_open() ? open() : end(EBADF, false);
}

void cb_stream::open() {
    state_ = State::open;
    int one = 1;
    setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    wait_to_read();
}

void cb_stream::end(int error, bool reset) {
    if (state_ == State::closed) return;
    state_ = State::closed;
    boost::system::error_code ignored;
    if (reset) socket_.set_option(boost::asio::socket_base::linger(true, 0), ignored);
    socket_.close(ignored);
    place_.reset();
    if (!events_) return;
    loop_.remove(this);
    // Later, so that whoever ends it is not called from inside that call; what is queued is counted until then.
    struct Ended {
        cb_stream *stream;
        int error;
    };
    auto run = [](void *box, void *) {
        auto ended = static_cast<Ended *>(box);
        ended->stream->events_->closed(ended->stream->context_, ended->error);
        ended->stream->out_.clear();
        ended->stream->release();
        delete ended;
    };
    auto ended = new Ended{this, error};
    if (!loop_.post({run, ended, nullptr})) run(ended, nullptr);
}

int cb_stream::surrender(bool &is_v6) {
    if (state_ != State::open) return -1;
    boost::system::error_code error;
    is_v6 = socket_.local_endpoint(error).address().is_v6();
    int descriptor = socket_.release(error);
    if (error) return -1;
    end(0, false);
    return descriptor;
}

// MARK: Connecting

void cb_stream::connect(std::unique_ptr<cb_addresses> addresses) {
    if (state_ != State::fresh) return;
    state_ = State::connecting;
    addresses_ = std::move(addresses);
    connect_next(EADDRNOTAVAIL);
}

void cb_stream::connect_next(int error_before) {
    if (next_address_ == addresses_->list.size()) return end(error_before, false);
    auto &address = addresses_->list[next_address_++];
    boost::system::error_code error;
    socket_.close(error);
    // Not Asio's, which programs inherit that this one starts: the connection would last as long as they do.
    int descriptor = ::socket(address.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    // Of a kind that this system may not have: the next one may do.
    if (descriptor < 0) return connect_next(errno);
    socket_.assign(address.protocol(), descriptor, error);
    if (error) {
        ::close(descriptor);
        return end(error.value(), false);
    }
    socket_.async_connect(address, [self = boost::intrusive_ptr(this)](boost::system::error_code error) {
        cb_loop::Turn turn(self->loop_);
        if (self->state_ != State::connecting) return;
        if (error) return self->connect_next(error.value());
        self->connected();
    });
}

void cb_stream::connected() {
    addresses_.reset();
    open();
    events_->opened(context_);
}

// MARK: Reading

void cb_stream::resume() {
    paused_ = false;
    if (state_ == State::open) wait_to_read();
}

void cb_stream::wait_to_read() {
    cb::wait_until_ready(this, socket_, tcp::socket::wait_read, &cb_stream::waiting_to_read_, &cb_stream::on_readable);
}

void cb_stream::on_readable() {
    if (paused_ && state_ == State::open) return;
    auto &scratch = loop_.scratch;
    auto n = ::recv(socket_.native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return wait_to_read();
        return end(errno, false);
    }
    if (n == 0) return end(0, false);
    if (state_ == State::open) {
        events_->received(context_, reinterpret_cast<const uint8_t *>(scratch.data()), size_t(n));
    } else {
        discard(size_t(n));
    }
    if (state_ != State::closed && !(paused_ && state_ == State::open)) wait_to_read();
}

void cb_stream::discard(size_t count) {
    discarded_ += count;
    if (discarded_ > discarded_max) end(ECONNABORTED, true);
}

// MARK: Writing

uint8_t *cb_stream::append(size_t count) {
    if (state_ != State::open) return nullptr;
    need_flush();
    if (out_.count() + count > round_bytes_max) loop_.end_round_soon();
    return out_.append(count);
}

void cb_stream::wait_to_write() {
    cb::wait_until_ready(this, socket_, tcp::socket::wait_write, &cb_stream::waiting_to_write_, &cb_stream::need_flush);
}

int cb_stream::hand_over() {
    // Behind bytes that the system did not take there is no room for these either.
    while (out_.count() > 0 && !waiting_to_write_) {
        auto n = ::send(socket_.native_handle(), out_.data(), out_.count(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            writes_++;
            sent_ += size_t(n);
            out_.drop_first(size_t(n));
            continue;
        }
        if (errno == EINTR) continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK) return errno;
        wait_to_write();
    }
    return 0;
}

void cb_stream::flush() {
    if (state_ != State::open && state_ != State::finishing) return;
    if (int error = hand_over()) return end(error, false);
    if (tells_ && out_.count() <= tell_below_) {
        tells_ = false;
        events_->drained(context_);
    }
    if (state_ == State::finishing && out_.count() == 0) all_sent();
}

void cb_stream::tell_below(size_t count) {
    tells_ = true;
    tell_below_ = count;
}

void cb_stream::finish() {
    if (state_ != State::open) return;
    state_ = State::finishing;
    need_flush();
    wait_to_read();
}

void cb_stream::close(int error, bool resets) {
    // What other turns of this round have appended is not left behind.
    if (state_ == State::open || state_ == State::finishing) hand_over();
    end(error, resets && out_.count() > 0);
}

void cb_stream::all_sent() {
    // A connection that is closed with bytes unread is reset, and what was sent last is lost with it.
    state_ = State::lingering;
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    wait_to_read();
}

extern "C" {
cb_addresses *cb_resolve(const char *host, uint16_t port, bool numeric, int *code) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : 0);
    addrinfo *list = nullptr;
    *code = getaddrinfo(host, std::to_string(port).c_str(), &hints, &list);
    if (*code) return nullptr;
    auto addresses = new cb_addresses;
    for (auto each = list; each; each = each->ai_next) {
        tcp::endpoint endpoint;
        if (each->ai_addrlen > endpoint.capacity()) continue;
        std::memcpy(endpoint.data(), each->ai_addr, each->ai_addrlen);
        endpoint.resize(each->ai_addrlen);
        addresses->list.push_back(endpoint);
    }
    freeaddrinfo(list);
    return addresses;
}
void cb_addresses_free(cb_addresses *addresses) { delete addresses; }

cb_stream *cb_stream_new(cb_loop *loop) { return new cb_stream(*loop); }
void cb_stream_release(cb_stream *stream) {
    auto run = [](void *box, void *) {
        auto stream = static_cast<cb_stream *>(box);
        stream->close();
        stream->release();
    };
    // A loop that has ended has closed the stream, and touches it no more.
    if (stream->loop().is_current() || !stream->loop().post({run, stream, nullptr})) run(stream, nullptr);
}
void cb_stream_attach(cb_stream *stream, void *context, const cb_stream_events *events) {
    stream->attach(context, events);
}
void cb_stream_connect(cb_stream *stream, cb_addresses *addresses) {
    stream->connect(std::unique_ptr<cb_addresses>(addresses));
}
uint8_t *cb_stream_append(cb_stream *stream, size_t count) { return stream->append(count); }
size_t cb_stream_unsent(const cb_stream *stream) { return stream->unsent(); }
uint64_t cb_stream_sent(const cb_stream *stream) { return stream->sent(); }
size_t cb_stream_remote(const cb_stream *stream, char *buffer, size_t capacity) {
    return cb::write_address(stream->remote(), buffer, capacity);
}
uint64_t cb_stream_writes(const cb_stream *stream) { return stream->writes(); }
void cb_stream_tell_below(cb_stream *stream, size_t count) { stream->tell_below(count); }
void cb_stream_pause(cb_stream *stream) { stream->pause(); }
void cb_stream_resume(cb_stream *stream) { stream->resume(); }
void cb_stream_finish(cb_stream *stream) { stream->finish(); }
void cb_stream_close(cb_stream *stream, int error, bool reset) { stream->close(error, reset); }
}
