#include <array>

#include "internal.h"

namespace {

constexpr std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
        table[byte] = crc;
    }
    return table;
}();

uint32_t by_table(uint32_t crc, const uint8_t *data, size_t size) {
    for (size_t index = 0; index < size; index++) crc = table[(crc ^ data[index]) & 0xFF] ^ crc >> 8;
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t by_instruction(uint32_t crc, const uint8_t *data, size_t size) {
    uint64_t wide = crc;
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = static_cast<uint32_t>(wide);
    for (; size > 0; data++, size--) crc = __builtin_ia32_crc32qi(crc, *data);
    return crc;
}
#endif

}  // namespace

extern "C" uint32_t crocks_crc32c(uint32_t crc, crocks_bytes bytes) noexcept {
    crc = ~crc;
#if defined(__x86_64__)
    static const bool has_instruction = __builtin_cpu_supports("sse4.2");
    if (has_instruction) return ~by_instruction(crc, bytes.data, bytes.size);
#endif
    return ~by_table(crc, bytes.data, bytes.size);
}
