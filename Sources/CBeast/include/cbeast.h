// The plain-C face of Boost.Asio, Boost.Beast, Boost.JSON and OpenSSL's digests, for the module AffinityNet alone.
//
// Who owns what: `…_new` gives the caller one reference, `…_release` gives it back. Strings and bytes that are passed
// in are copied before the call returns. Unless said otherwise a function can be called on any thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma mark - Event loops

typedef struct cb_loop cb_loop;
typedef void (*cb_job_fn)(void *job, void *context);
typedef void (*cb_release_fn)(void *context);

cb_loop *cb_loop_new(const char *name);
void cb_loop_release(cb_loop *loop);
/// Starts the thread; `ended(context)` is the last thing it calls. At most once a loop.
bool cb_loop_start(cb_loop *loop, void *context, cb_release_fn ended);
/// Closes what is open on the loop, runs what was posted before, and ends the thread.
void cb_loop_stop(cb_loop *loop);
/// Waits until the thread has ended; not on a loop's own thread, and once.
void cb_loop_join(cb_loop *loop);
bool cb_loop_is_current(const cb_loop *loop);
/// The loop whose thread the caller is, without a reference; or null.
cb_loop *cb_loop_current(void);
/// The context given to `cb_loop_start`.
void *cb_loop_context(const cb_loop *loop);
/// Runs `fn(job, context)` later; false, and never, if the thread has ended.
bool cb_loop_post(cb_loop *loop, cb_job_fn fn, void *job, void *context);
/// Runs `fn(job, NULL)` at a moment of CLOCK_BOOTTIME in nanoseconds; `drop(job)` instead if the thread ends before.
bool cb_loop_schedule(cb_loop *loop, int64_t at_ns, cb_job_fn fn, cb_release_fn drop, void *job);

int64_t cb_clock_boottime_ns(void);
int64_t cb_clock_realtime_ms(void);

#pragma mark - Threads that may block

typedef struct cb_pool cb_pool;
cb_pool *cb_pool_new(size_t threads, const char *name);
void cb_pool_post(cb_pool *pool, cb_job_fn fn, void *job);
/// The threads end when all that was posted has run.
void cb_pool_release(cb_pool *pool);

#pragma mark - HTTP/1.1 server

typedef struct cb_server cb_server;
typedef struct cb_exchange cb_exchange;

/// Sizes in bytes, times in nanoseconds.
typedef struct {
    size_t target_max;
    size_t header_section_max;
    size_t header_count_max;
    size_t body_max;
    size_t connections_max;
    size_t unsent_max;
    int64_t idle_ns;
    int64_t header_read_ns;
    int64_t body_read_ns;
    int64_t write_ns;
    int64_t linger_ns;
    /// Answers every request with a constant, without calling `on_request`, and opens every WebSocket that is asked for:
    /// what one of them sends goes to all. For benchmarks and tests.
    bool constant;
} cb_server_options;

/// Called on a loop's thread; takes the reference of `exchange`. `*connection` is null at a connection's first request,
/// and from then on what the function puts there.
typedef void (*cb_request_fn)(void *context, void *loop_context, void **connection, cb_exchange *exchange);

/// Called on a loop's thread, with an errno, when nothing can be accepted for want of descriptors or memory; clients wait
/// until there is room. At most once a minute for each address.
typedef void (*cb_starved_fn)(void *context, int error);

/// `ended(connection)` is called on the loop's thread when a connection ends for which `on_request` put something there.
/// `released(context)` is called once nothing can call `on_request` any more, on any thread.
cb_server *cb_server_new(
    cb_loop *const *loops, size_t count, const cb_server_options *options, void *context, cb_request_fn on_request,
    cb_release_fn ended, cb_starved_fn starved, cb_release_fn released);
/// Stops accepting, closes every connection, and gives the reference back.
void cb_server_release(cb_server *server);
/// Blocks while a name is resolved. Gives 0 or an errno, or with `*resolver` set one of getaddrinfo's codes.
int cb_server_bind(cb_server *server, const char *host, uint16_t port, uint16_t *actual, bool *resolver);
/// Stops accepting, ends every connection after its next answer, and idle ones after a moment; `done(context)` is called
/// once, when no connection is open. A second call only adds its `done`.
void cb_server_drain(cb_server *server, void *context, cb_release_fn done);
/// Closes every connection as it stands.
void cb_server_abort(cb_server *server);
size_t cb_server_open(const cb_server *server);
uint64_t cb_server_accepted(const cb_server *server);
uint64_t cb_server_refused(const cb_server *server);
/// How many answers of that status, 400…599, the server gave by itself, without `on_request`.
uint64_t cb_server_refusals(const cb_server *server, int status);

typedef struct {
    const uint8_t *bytes;
    size_t count;
} cb_bytes;

/// A request that came over no connection, for tests: `head` is its header section, to the empty line. Null, with the
/// status to refuse it with, if that is malformed.
cb_exchange *cb_exchange_new(const void *head, size_t head_count, const void *body, size_t body_count, int *status);
void cb_exchange_release(cb_exchange *exchange);
cb_bytes cb_exchange_method(const cb_exchange *exchange);
cb_bytes cb_exchange_target(const cb_exchange *exchange);
cb_bytes cb_exchange_body(const cb_exchange *exchange);
bool cb_exchange_is_http10(const cb_exchange *exchange);
size_t cb_exchange_header_count(const cb_exchange *exchange);
cb_bytes cb_exchange_header_name(const cb_exchange *exchange, size_t index);
cb_bytes cb_exchange_header_value(const cb_exchange *exchange, size_t index);
/// The index of the first header of that name at or behind `from`, in any case; SIZE_MAX if there is none.
size_t cb_exchange_find(const cb_exchange *exchange, const void *name, size_t count, size_t from);
/// Writes "address:port" and gives its length.
size_t cb_exchange_remote(const cb_exchange *exchange, char *buffer, size_t capacity);

// The answer: begin, any number of headers, end, without a pause; on the loop's thread, once an exchange. Lost without a
// word if the connection has ended.
void cb_respond_begin(cb_exchange *exchange, int status);
void cb_respond_header(
    cb_exchange *exchange, const void *name, size_t name_count, const void *value, size_t value_count);
void cb_respond_end(cb_exchange *exchange, const void *body, size_t count);

// A streamed answer: begin, headers, then this instead of the end. False, without any call of `events`, if there is no
// body to be sent (HEAD, 204, 304, an answer that cannot be sent, or the connection has ended).
typedef struct {
    void (*drained)(void *context);
    /// The server drains: the body should come to its end soon.
    void (*draining)(void *context);
    /// The last, once, never inside a call: the body was ended, or the connection ended under it.
    void (*closed)(void *context);
} cb_body_events;
bool cb_respond_stream(cb_exchange *exchange, void *context, const cb_body_events *events);
// On the loop's thread. False, and 0, once the body was ended or the connection has.
bool cb_body_append(cb_exchange *exchange, const void *bytes, size_t count);
size_t cb_body_unsent(const cb_exchange *exchange);
/// Calls `drained`, once, when no more than `count` bytes wait to be sent at the end of a turn.
void cb_body_tell_below(cb_exchange *exchange, size_t count);
/// If not `complete`, the connection is closed, or without chunks reset, so that the client can see that something is
/// missing.
void cb_body_end(cb_exchange *exchange, bool complete);

#pragma mark - TCP

typedef struct cb_addresses cb_addresses;
typedef struct cb_stream cb_stream;
typedef struct cb_listener cb_listener;

/// Blocks while a name is resolved; if `numeric`, a name fails at once. Null with one of getaddrinfo's codes in `*code`.
cb_addresses *cb_resolve(const char *host, uint16_t port, bool numeric, int *code);
void cb_addresses_free(cb_addresses *addresses);

/// Called on the stream's loop, each with the context given to `cb_stream_attach`.
typedef struct {
    void (*opened)(void *context);
    /// Valid until it returns.
    void (*received)(void *context, const uint8_t *bytes, size_t count);
    void (*drained)(void *context);
    /// The last, once, never inside a call; with an errno, or 0 if the other side sends no more or the owner closed it.
    void (*closed)(void *context, int error);
} cb_stream_events;

// A connection. But for the release, everything is called on its loop's thread.
cb_stream *cb_stream_new(cb_loop *loop);
/// Closes it, if it is open. On any thread.
void cb_stream_release(cb_stream *stream);
/// Once; an accepted stream is read from then on.
void cb_stream_attach(cb_stream *stream, void *context, const cb_stream_events *events);
/// Tries one address after the other; takes `addresses`. `opened` or `closed` follows.
void cb_stream_connect(cb_stream *stream, cb_addresses *addresses);
/// Room for `count` bytes behind those that wait to be sent, to be filled at once; null if the stream is not open.
uint8_t *cb_stream_append(cb_stream *stream, size_t count);
/// How many bytes wait to be sent, and how many the system has taken: also after the end.
size_t cb_stream_unsent(const cb_stream *stream);
uint64_t cb_stream_sent(const cb_stream *stream);
/// Writes "address:port" of whoever opened an accepted stream, and gives its length.
size_t cb_stream_remote(const cb_stream *stream, char *buffer, size_t capacity);
/// How many system calls took them.
uint64_t cb_stream_writes(const cb_stream *stream);
/// Calls `drained`, once, when no more than `count` bytes wait to be sent at the end of a turn that sent some.
void cb_stream_tell_below(cb_stream *stream, size_t count);
void cb_stream_pause(cb_stream *stream);
void cb_stream_resume(cb_stream *stream);
/// Sends what waits and then the end; discards what comes until the other side ends too.
void cb_stream_finish(cb_stream *stream);
/// Ends it with what the system takes at once; if that is not all, and `reset`, it forgets what it has not sent.
void cb_stream_close(cb_stream *stream, int error, bool reset);

/// Called on the stream's loop; takes the reference of `stream`.
typedef void (*cb_accepted_fn)(void *context, void *loop_context, cb_stream *stream);

/// Beyond `streams_max` open streams, connections are closed as they come. `released(context)` is called once nothing can
/// call `accepted` any more, on any thread.
cb_listener *cb_listener_new(
    cb_loop *const *loops, size_t count, size_t streams_max, void *context, cb_accepted_fn accepted,
    cb_starved_fn starved, cb_release_fn released);
/// Stops accepting; its streams live on.
void cb_listener_release(cb_listener *listener);
/// As `cb_server_bind`.
int cb_listener_bind(cb_listener *listener, const char *host, uint16_t port, uint16_t *actual, bool *resolver);
void cb_listener_close(cb_listener *listener);

#pragma mark - WebSocket

typedef struct cb_websocket cb_websocket;
typedef struct cb_frame cb_frame;

/// Sizes in bytes, times in nanoseconds.
typedef struct {
    size_t message_max;
    /// Closes with 1003 where a message begins.
    bool refuses_messages;
    /// From a message's first byte to its last, and of any other frame's; then it is closed with 1008.
    int64_t message_ns;
    /// Beyond so many bytes that the other side has not taken, nothing is read.
    size_t unsent_max;
    /// After so long a silence a ping is sent; then the other side has `pong_ns`, or its system while it is not read.
    int64_t ping_ns;
    int64_t pong_ns;
    int64_t close_ns;
    int64_t write_ns;
    /// permessage-deflate, if both sides want it.
    bool deflates;
    /// Keeps the contexts of messages, and with them the memory, from one to the next.
    bool keeps_context;
    /// 9…15
    int window_bits;
    /// 1…9
    int level;
    /// Shorter messages are sent as they are.
    size_t deflate_min;
} cb_websocket_options;

/// Called on the loop's thread, each with the context given to `cb_websocket_attach`.
typedef struct {
    /// Valid until it returns.
    void (*received)(void *context, bool is_text, const uint8_t *bytes, size_t count);
    void (*drained)(void *context);
    /// It is about to close for another reason than the owner's call: nothing can be sent, nothing is received any more.
    void (*closing)(void *context);
    /// The last, once, never inside a call. The code is the one that the other side gave, or that it was given for its
    /// mistake; 1005 if it gave none, 1006 if it ended without a word, then perhaps with an errno.
    void (*closed)(void *context, int code, const uint8_t *reason, size_t count, int error);
} cb_websocket_events;

/// 0 if the request is a good handshake of RFC 6455, or the status to refuse it with and why (a literal).
int cb_exchange_websocket(const cb_exchange *exchange, const char **detail);
/// Answers the handshake, instead of `cb_respond_end` and after `cb_respond_begin` with 101; null if the connection has
/// ended or the handshake is bad. A subprotocol of no bytes is none.
cb_websocket *cb_respond_websocket(
    cb_exchange *exchange, const cb_websocket_options *options, const void *subprotocol, size_t count);

/// Writes the 24 characters of a client's Sec-WebSocket-Key.
void cb_websocket_key(char *key);
/// Writes what a client with such options offers in Sec-WebSocket-Extensions and gives its length; 0 for nothing.
size_t cb_websocket_offer(const cb_websocket_options *options, char *buffer, size_t capacity);
/// Makes a client's WebSocket of an open stream, inside of its `received`: `head` is the answer's header section, to the
/// empty line, and `rest` what came behind it. The stream is closed. Null if the answer is no acceptance of `key`,
/// with why (a literal), and the answer's status or 0.
cb_websocket *cb_websocket_adopt(
    cb_stream *stream, const cb_websocket_options *options, const char *key, const void *head, size_t head_count,
    const void *rest, size_t rest_count, int *status, const char **detail);

// But for the release, everything is called on its loop's thread.
/// Once; nothing is read before.
void cb_websocket_attach(cb_websocket *socket, void *context, const cb_websocket_events *events);
/// Closes it, if it was never attached. On any thread.
void cb_websocket_release(cb_websocket *socket);
/// False if it is not open.
bool cb_websocket_send(cb_websocket *socket, bool is_text, const void *bytes, size_t count);
bool cb_websocket_send_frame(cb_websocket *socket, cb_frame *frame);
/// At most 125 bytes.
bool cb_websocket_ping(cb_websocket *socket, const void *bytes, size_t count);
size_t cb_websocket_unsent(const cb_websocket *socket);
void cb_websocket_tell_below(cb_websocket *socket, size_t count);
void cb_websocket_pause(cb_websocket *socket);
void cb_websocket_resume(cb_websocket *socket);
/// Begins the closing handshake, behind what waits to be sent. The reason has at most 123 bytes.
void cb_websocket_close(cb_websocket *socket, int code, const void *reason, size_t count);
/// Ends it as it stands.
void cb_websocket_abort(cb_websocket *socket);
/// The subprotocol that a client's WebSocket was given.
cb_bytes cb_websocket_subprotocol(const cb_websocket *socket);
bool cb_websocket_deflates(const cb_websocket *socket);

// A message that is encoded once and can be sent over any number of connections, of any loop. On any thread.
cb_frame *cb_frame_new(bool is_text, const void *bytes, size_t count);
void cb_frame_release(cb_frame *frame);

#pragma mark - JSON and digests

/// The byte of the first mistake and why, or -1.
int64_t cb_json_mistake(const void *text, size_t count, size_t depth_max, char *reason, size_t capacity);

typedef struct cb_sha256 cb_sha256;
cb_sha256 *cb_sha256_new(void);
bool cb_sha256_add(cb_sha256 *digest, const void *bytes, size_t count);
/// Writes 32 bytes and frees the digest.
bool cb_sha256_finish(cb_sha256 *digest, uint8_t *output);
/// Writes 32 bytes.
bool cb_hmac_sha256(const void *key, size_t key_count, const void *message, size_t count, uint8_t *output);
/// Takes the same time for all bytes.
bool cb_is_equal(const void *a, const void *b, size_t count);
bool cb_random(void *output, size_t count);

#ifdef __cplusplus
}
#endif
