#include <boost/json/basic_parser_impl.hpp>
#include <cstring>
#include <string>
#include <string_view>

#include "cbeast.h"

namespace json = boost::json;

namespace {
/// Accepts every event: only the grammar matters.
struct Nothing {
    static constexpr size_t max_array_size = size_t(-1);
    static constexpr size_t max_object_size = size_t(-1);
    static constexpr size_t max_string_size = size_t(-1);
    static constexpr size_t max_key_size = size_t(-1);
    bool on_document_begin(json::error_code &) { return true; }
    bool on_document_end(json::error_code &) { return true; }
    bool on_array_begin(json::error_code &) { return true; }
    bool on_array_end(size_t, json::error_code &) { return true; }
    bool on_object_begin(json::error_code &) { return true; }
    bool on_object_end(size_t, json::error_code &) { return true; }
    bool on_string_part(json::string_view, size_t, json::error_code &) { return true; }
    bool on_string(json::string_view, size_t, json::error_code &) { return true; }
    bool on_key_part(json::string_view, size_t, json::error_code &) { return true; }
    bool on_key(json::string_view, size_t, json::error_code &) { return true; }
    bool on_number_part(json::string_view, json::error_code &) { return true; }
    bool on_int64(int64_t, json::string_view, json::error_code &) { return true; }
    bool on_uint64(uint64_t, json::string_view, json::error_code &) { return true; }
    bool on_double(double, json::string_view, json::error_code &) { return true; }
    bool on_bool(bool, json::error_code &) { return true; }
    bool on_null(json::error_code &) { return true; }
    bool on_comment_part(json::string_view, json::error_code &) { return true; }
    bool on_comment(json::string_view, json::error_code &) { return true; }
};

using Parser = json::basic_parser<Nothing>;

json::parse_options options(size_t depth_max) {
    json::parse_options options;
    options.max_depth = depth_max;
    return options;
}

size_t parse(Parser &parser, const char *text, size_t count, json::error_code &error) {
    parser.reset();
    error = {};
    return parser.write_some(false, text, count, error);
}

/// The same text with every exponent's digits 0. An exponent may have any digits, so the text is right and wrong in
/// the same places, and its numbers fit the parser's own range, which texts that are kept as they are need not.
std::string without_exponents(const char *text, size_t count) {
    std::string copy(text, count);
    auto digit = [&](size_t i) { return i < copy.size() && copy[i] >= '0' && copy[i] <= '9'; };
    bool in_string = false;
    for (size_t i = 0; i < copy.size(); i++) {
        if (copy[i] == '"') {
            in_string = !in_string;
        } else if (in_string) {
            if (copy[i] == '\\') i++;
        } else if (copy[i] == 'e' || copy[i] == 'E') {
            if (i + 1 < copy.size() && (copy[i + 1] == '+' || copy[i + 1] == '-')) i++;
            while (digit(i + 1)) copy[++i] = '0';
        }
    }
    return copy;
}

/// The parser gives the beginning of a misspelt `true`, `false` or `null`; this gives the first byte that is wrong.
size_t behind_literal(Parser &parser, const char *text, size_t count, size_t at) {
    for (std::string_view word : {"true", "false", "null"}) {
        size_t n = 0;
        while (n < word.size() && at + n < count && text[at + n] == word[n]) n++;
        if (n == 0 || n == word.size()) continue;
        // Only where a value is expected: there the text up to here only lacks its end.
        json::error_code error;
        auto copy = without_exponents(text, at + n);
        parse(parser, copy.data(), at + n, error);
        if (error == json::error::incomplete) return at + n;
    }
    return at;
}

int64_t mistake(Parser &parser, const char *text, size_t count, char *reason, size_t capacity) {
    json::error_code error;
    size_t at = parse(parser, text, count, error);
    if (error == json::error::exponent_overflow) {
        auto copy = without_exponents(text, count);
        at = parse(parser, copy.data(), count, error);
    }
    if (!error && at == count) return -1;
    at = behind_literal(parser, text, count, at);
    auto message = error ? error.message() : std::string("extra data");
    if (capacity > 0) {
        size_t n = std::min(capacity - 1, message.size());
        memcpy(reason, message.data(), n);
        reason[n] = 0;
    }
    return int64_t(at);
}
}  // namespace

int64_t cb_json_mistake(const void *text, size_t count, size_t depth_max, char *reason, size_t capacity) {
    auto bytes = count == 0 ? "" : static_cast<const char *>(text);
    if (depth_max == 512) {
        // One a thread, made for the depth that nearly every text is checked with.
        static thread_local Parser parser(options(512));
        return mistake(parser, bytes, count, reason, capacity);
    }
    Parser parser(options(depth_max));
    return mistake(parser, bytes, count, reason, capacity);
}
