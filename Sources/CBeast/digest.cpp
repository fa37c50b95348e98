#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <climits>

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

bool cb_hmac_sha256(const void *key, size_t key_count, const void *message, size_t count, uint8_t *output) {
    unsigned written = 0;
    return key_count <= INT_MAX &&
        HMAC(EVP_sha256(), key, int(key_count), static_cast<const uint8_t *>(message), count, output, &written) &&
        written == 32;
}

bool cb_is_equal(const void *a, const void *b, size_t count) { return CRYPTO_memcmp(a, b, count) == 0; }

bool cb_random(void *output, size_t count) {
    return count <= INT_MAX && RAND_bytes(static_cast<uint8_t *>(output), int(count)) == 1;
}
}
