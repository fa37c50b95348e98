import AffinityNet
import Testing

@Suite struct DigestTests {
    /// FIPS 180-2's and NIST's examples.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ])
    func knownAnswers(text: String, digest: String) {
        let bytes = Array(text.utf8)
        #expect(hexadecimal(Digest.sha256([bytes])) == digest)
        #expect(hexadecimal(Digest.sha256([Array(bytes.prefix(2)), [], Array(bytes.dropFirst(2))])) == digest)
    }

    @Test func aMillionBytes() {
        let digest = Digest.sha256([[UInt8](repeating: 97, count: 1_000_000)])
        #expect(hexadecimal(digest) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    }

    /// RFC 4231's examples.
    @Test(arguments: [
        ("Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            String(repeating: "\u{0B}", count: 20), "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        ),
    ])
    func knownProofs(key: String, message: String, proof: String) {
        let made = Digest.hmacSHA256(key: Array(key.utf8), Array(message.utf8))
        #expect(hexadecimal(made) == proof)
        #expect(Digest.isEqual(made, made))
        for index in made.indices {
            var other = made
            other[index] ^= 1
            #expect(!Digest.isEqual(made, other))
        }
        #expect(!Digest.isEqual(made, Array(made.dropLast())))
    }

    @Test func randomBytesDiffer() {
        #expect(Digest.random(32).count == 32)
        #expect(Digest.random(32) != Digest.random(32))
    }

    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
