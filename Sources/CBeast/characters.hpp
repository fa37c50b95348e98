// Internal to CBeast. The classes of characters of RFC 9110.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace cb {
namespace detail {
inline constexpr uint8_t token = 1, field = 2, target = 4, host = 8;

consteval std::array<uint8_t, 256> classes() {
    std::array<uint8_t, 256> table{};
    for (int c = 0; c < 256; c++) {
        bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (alphanumeric || (c < 128 && std::string_view("!#$%&'*+-.^_`|~").find(char(c)) != std::string_view::npos && c))
            table[size_t(c)] |= token;
        if (c == '\t' || (c >= 0x20 && c != 0x7f)) table[size_t(c)] |= field;
        // Above ASCII no URI has anything, but clients send UTF-8 as it is, and it can be taken in one way only.
        if (c > 0x20 && c != 0x7f) table[size_t(c)] |= target;
        if (alphanumeric || (c < 128 && c && std::string_view("-._~!$&'()*+;=:%[]").find(char(c)) != std::string_view::npos))
            table[size_t(c)] |= host;
    }
    return table;
}
inline constexpr auto table = classes();
}  // namespace detail

inline bool is_token_character(unsigned char c) { return detail::table[c] & detail::token; }
inline bool is_field_character(unsigned char c) { return detail::table[c] & detail::field; }
inline bool is_target_character(unsigned char c) { return detail::table[c] & detail::target; }
inline bool is_host_character(unsigned char c) { return detail::table[c] & detail::host; }

inline int hex_digit(unsigned char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}
}  // namespace cb
