#include <openssl/evp.h>

#include "cbeast.h"

struct cb_sha256 {
    EVP_MD_CTX *context;
};

extern "C" {
cb_sha256 *cb_sha256_new(void) {
    // Fetched once: OpenSSL 3 otherwise looks the algorithm up again for every digest.
    static EVP_MD *algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    auto context = EVP_MD_CTX_new();
    if (!algorithm || !context || EVP_DigestInit_ex2(context, algorithm, nullptr) != 1) {
        EVP_MD_CTX_free(context);
        return nullptr;
    }
    return new cb_sha256{context};
}

bool cb_sha256_add(cb_sha256 *digest, const void *bytes, size_t count) {
    return EVP_DigestUpdate(digest->context, bytes, count) == 1;
}

bool cb_sha256_finish(cb_sha256 *digest, uint8_t *output) {
    bool good = EVP_DigestFinal_ex(digest->context, output, nullptr) == 1;
    EVP_MD_CTX_free(digest->context);
    delete digest;
    return good;
}
}
