internal import CBeast

/// Cryptographic digests, by OpenSSL.
public enum Digest {
    /// The SHA-256 of the parts one behind the other: 32 bytes. Can be called on any thread.
    public static func sha256(_ parts: [[UInt8]]) -> [UInt8] {
        // Fails only without memory or with an OpenSSL that has no SHA-256, and then nothing sensible can go on.
        guard let digest = cb_sha256_new() else { preconditionFailure("OpenSSL has no SHA-256") }
        for part in parts {
            let added = part.withUnsafeBytes { cb_sha256_add(digest, $0.baseAddress, $0.count) }
            precondition(added, "OpenSSL's SHA-256 failed")
        }
        return [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            precondition(cb_sha256_finish(digest, buffer.baseAddress), "OpenSSL's SHA-256 failed")
            count = 32
        }
    }

    /// The HMAC of `message` with SHA-256: 32 bytes, which only who has the key can make. Can be called on any thread.
    package static func hmacSHA256(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { buffer, count in
            let isMade = key.withUnsafeBytes { key in
                message.withUnsafeBytes { message in
                    cb_hmac_sha256(
                        key.baseAddress, key.count, message.baseAddress, message.count, buffer.baseAddress)
                }
            }
            // As for a digest: nothing sensible could go on.
            precondition(isMade, "OpenSSL's HMAC failed")
            count = 32
        }
    }

    /// Whether `a` and `b` are the same, in a time that depends on their length only: for what must not be guessed.
    package static func isEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        guard a.count == b.count else { return false }
        return a.withUnsafeBytes { a in b.withUnsafeBytes { b in cb_is_equal(a.baseAddress, b.baseAddress, a.count) } }
    }

    /// `count` bytes that nobody can foresee.
    package static func random(_ count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            precondition(cb_random(buffer.baseAddress, count), "OpenSSL has no randomness to give")
            filled = count
        }
    }
}
