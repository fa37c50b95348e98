// What a client sends over a WebSocket: its offer of extensions, a zero, and the bytes behind the handshake.
#include "Harness.hpp"

namespace {
/// The frames of a server as a client must find them.
void check(std::string_view frames) {
    bool in_message = false;
    while (frames.size() >= 2) {
        uint8_t first = uint8_t(frames[0]), second = uint8_t(frames[1]);
        if (first & 0x30 || second & 0x80) fuzz::fail("a frame with reserved bits or a mask");
        uint64_t count = second & 0x7f;
        size_t at = 2, more = count == 126 ? 2 : count == 127 ? 8 : 0;
        if (frames.size() < at + more) return;
        if (more) count = 0;
        for (size_t i = 0; i < more; i++) count = count << 8 | uint8_t(frames[at++]);
        int opcode = first & 0x0f;
        if (opcode >= 8 && (count > 125 || !(first & 0x80))) fuzz::fail("a control frame that is none");
        if (opcode < 8 && (opcode > 2 || in_message != (opcode == 0))) fuzz::fail("a data frame out of order");
        if (opcode < 8) in_message = !(first & 0x80);
        if (frames.size() - at < count) return;
        if (opcode == 8) {
            if (frames.size() - at != count) fuzz::fail("something behind a close frame");
            if (count == 1) fuzz::fail("half a code");
        }
        frames.remove_prefix(at + count);
    }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count) {
    if (count < 2) return 0;
    fuzz::choice = data[0] & 0x1f;
    std::string_view rest(reinterpret_cast<const char *>(data + 1), count - 1);
    auto offer = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(rest.size(), offer.size() + 1));
    std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    bool is_plain = true;
    for (unsigned char c : offer) is_plain &= c >= 0x20 && c < 0x7f;
    if (is_plain && !offer.empty() && offer.size() < 512)
        bytes.append("Sec-WebSocket-Extensions: ").append(offer).append("\r\n");
    bytes.append("\r\n").append(rest);
    auto answer = fuzz::server().talk(bytes, data[0] & 0x20 ? 7 : SIZE_MAX / 2);
    auto end = answer.find("\r\n\r\n");
    if (answer.substr(0, 12) != "HTTP/1.1 101" || end == std::string::npos) fuzz::fail("a good handshake is refused");
    check(std::string_view(answer).substr(end + 4));
    return 0;
}
