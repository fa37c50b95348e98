// Shared by the files of the shim.
#pragma once

#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "crocksdb.h"

namespace rocksdb {
class Env;
}

// The files of the machine, with write-ahead logs that have room ahead; see padded.cpp.
rocksdb::Env *padding_env();

inline crocks_status failure(crocks_code code, const std::string &message) noexcept {
    return {code, strdup(message.c_str())};
}

inline char *copied(const std::string &text) noexcept { return strdup(text.c_str()); }

// Runs `body` and turns what it throws into a status.
template <class Body>
crocks_status guarded(Body body) noexcept {
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return {crocks_other, strdup("out of memory")};
    } catch (const std::exception &error) {
        return {crocks_other, strdup(error.what())};
    } catch (...) {
        return {crocks_other, strdup("an unknown C++ exception")};
    }
}
