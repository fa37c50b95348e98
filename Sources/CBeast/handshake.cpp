// The opening handshake of RFC 6455, a server's and a client's.
#include <openssl/rand.h>

#include <algorithm>
#include <boost/beast/core/detail/base64.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/websocket/detail/hybi13.hpp>

#include "connection.hpp"
#include "server.hpp"
#include "stream.hpp"
#include "websocket.hpp"

namespace http = boost::beast::http;
namespace base64 = boost::beast::detail::base64;

namespace {
/// The values of all headers of a name, joined as RFC 9110 says they can be.
struct Header {
    int count = 0;
    std::string value;

    Header(const cb_exchange &exchange, std::string_view name) {
        for (auto &field : exchange.fields) {
            if (!cb::equals_ignoring_case(exchange.text(field.name), name)) continue;
            if (count++ > 0) value += ", ";
            value += exchange.text(field.value);
        }
    }
    bool names(std::string_view token) const { return http::token_list(value).exists({token.data(), token.size()}); }
};

bool is_key(const std::string &key) {
    // 16 bytes: 22 characters and two signs that nothing follows.
    if (key.size() != 24 || key.substr(22) != "==") return false;
    uint8_t bytes[32];
    auto [count, read] = base64::decode(bytes, key.data(), key.size());
    return count == 16 && read == 22;
}

std::string accept_of(const std::string &key) {
    boost::beast::websocket::detail::sec_ws_accept_type accept;
    boost::beast::websocket::detail::make_sec_ws_accept(accept, {key.data(), key.size()});
    return {accept.data(), accept.size()};
}

int check_handshake(const cb_exchange &exchange, const char *&detail) {
    auto refuse = [&](int status, const char *why) {
        detail = why;
        return status;
    };
    if (exchange.text(exchange.method) != "GET") return refuse(405, "A WebSocket is opened with GET.");
    if (exchange.is_http10) return refuse(400, "A WebSocket is opened with HTTP/1.1.");
    if (!Header(exchange, "upgrade").names("websocket")) return refuse(426, "There is a WebSocket here.");
    if (!Header(exchange, "connection").names("upgrade"))
        return refuse(400, "The header field Connection does not name the upgrade.");
    if (!exchange.body.empty()) return refuse(400, "A request that opens a WebSocket has no body.");
    Header version(exchange, "sec-websocket-version");
    if (version.count == 0) return refuse(400, "There is no Sec-WebSocket-Version.");
    if (version.value != "13") return refuse(426, "The version of WebSocket that is spoken here is 13.");
    Header key(exchange, "sec-websocket-key");
    if (key.count != 1 || !is_key(key.value)) return refuse(400, "The Sec-WebSocket-Key is no 16 bytes in base64.");
    return 0;
}
}  // namespace

cb_websocket *cb_exchange::end_with_websocket(const cb_websocket_options &options, std::string_view subprotocol) {
    if (!connection) return nullptr;
    auto &out = connection->output();
    const char *detail = "The answer had a header that cannot be sent.";
    int refused = is_broken_ || (!subprotocol.empty() && !cb::is_token(subprotocol)) ? 500 : 0;
    if (!refused) refused = check_handshake(*this, detail);
    if (refused) {
        out.resize(answer_at_);
        cb::append_problem(out, *loop, refused, detail, true, is_head);
        connection->answered(false);
        return nullptr;
    }
    cb_websocket::Terms terms;
    std::string extensions;
    terms.deflate = cb::accept_deflate(Header(*this, "sec-websocket-extensions").value, options, extensions);
    terms.subprotocol = subprotocol;
    out += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    out += accept_of(Header(*this, "sec-websocket-key").value);
    if (!subprotocol.empty()) out.append("\r\nSec-WebSocket-Protocol: ").append(subprotocol);
    if (!extensions.empty()) out.append("\r\nSec-WebSocket-Extensions: ").append(extensions);
    out += "\r\n\r\n";
    return connection->upgrade(options, std::move(terms));
}

// MARK: A client's

namespace {
/// Null, or what is wrong with the server's answer.
const char *check_answer(
    std::string_view head, const std::string &key, const cb_websocket_options &options, cb_websocket::Terms &terms,
    int &status) {
    http::response_parser<http::empty_body> parser;
    parser.header_limit(UINT32_MAX);  // whoever read it has limited it
    parser.skip(true);
    boost::beast::error_code error;
    parser.put(boost::asio::const_buffer(head.data(), head.size()), error);
    if (error || !parser.is_header_done()) return "The answer is no HTTP.";
    auto &answer = parser.get();
    status = int(answer.result_int());
    if (status != 101) return "The server does not open a WebSocket.";
    auto value = [&](http::field name) {
        std::string joined;
        auto range = answer.equal_range(name);
        for (auto each = range.first; each != range.second; ++each) {
            if (!joined.empty()) joined += ", ";
            joined.append(each->value().data(), each->value().size());
        }
        return joined;
    };
    if (!http::token_list(value(http::field::upgrade)).exists("websocket") ||
        !http::token_list(value(http::field::connection)).exists("upgrade"))
        return "The server answers 101 without an upgrade.";
    if (value(http::field::sec_websocket_accept) != accept_of(key)) return "The Sec-WebSocket-Accept is wrong.";
    terms.subprotocol = value(http::field::sec_websocket_protocol);
    auto extensions = value(http::field::sec_websocket_extensions);
    if (!extensions.empty() && !cb::read_deflate_answer(extensions, options, terms.deflate))
        return "The server names an extension that was not offered.";
    return nullptr;
}
}  // namespace

extern "C" {
int cb_exchange_websocket(const cb_exchange *exchange, const char **detail) {
    return check_handshake(*exchange, *detail);
}
cb_websocket *cb_respond_websocket(
    cb_exchange *exchange, const cb_websocket_options *options, const void *subprotocol, size_t count) {
    return exchange->end_with_websocket(*options, {static_cast<const char *>(subprotocol), count});
}

void cb_websocket_key(char *key) {
    uint8_t bytes[16];
    RAND_bytes(bytes, sizeof bytes);
    base64::encode(key, bytes, sizeof bytes);
}

size_t cb_websocket_offer(const cb_websocket_options *options, char *buffer, size_t capacity) {
    auto offer = cb::offer_deflate(*options);
    return offer.copy(buffer, capacity);
}

cb_websocket *cb_websocket_adopt(
    cb_stream *stream, const cb_websocket_options *options, const char *key, const void *head, size_t head_count,
    const void *rest, size_t rest_count, int *status, const char **detail) {
    cb_websocket::Terms terms;
    *status = 0;
    *detail = check_answer({static_cast<const char *>(head), head_count}, key, *options, terms, *status);
    if (*detail) return nullptr;
    bool is_v6 = false;
    int descriptor = stream->surrender(is_v6);
    if (descriptor < 0) {
        *detail = "The connection has ended.";
        return nullptr;
    }
    auto socket = new cb_websocket(stream->loop(), nullptr, *options, std::move(terms));
    socket->start(descriptor, is_v6, {});
    socket->add_received({static_cast<const char *>(rest), rest_count});
    return socket;
}
}
