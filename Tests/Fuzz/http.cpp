// Everything that a client sends before a WebSocket is opened, and behind it: the bytes of one connection.
#include "Harness.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count) {
    if (count < 1) return 0;
    fuzz::choice = data[0] & 0x1f;
    std::string_view bytes(reinterpret_cast<const char *>(data + 1), count - 1);
    auto answer = fuzz::server().talk(bytes, data[0] & 0x20 ? 7 : SIZE_MAX / 2);
    if (!answer.empty() && answer.substr(0, 9) != "HTTP/1.1 ") fuzz::fail("no answer of HTTP");
    return 0;
}
