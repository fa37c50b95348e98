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
}
