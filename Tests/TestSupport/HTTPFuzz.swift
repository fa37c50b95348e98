/// Requests that nobody in his right mind sends: random bytes, and valid requests with random damage.
package struct HTTPFuzz {
    private var random: Seeded
    private let corpus: [[UInt8]]

    private init(seed: UInt64, corpus: [[UInt8]]) {
        random = Seeded(seed)
        self.corpus = corpus
    }

    /// Sends `count` requests, each over a connection of its own.
    ///
    /// Every connection must be answered or closed, and the server must live on.
    package static func run(
        port: Int, count: Int, corpus: [[UInt8]], seed: UInt64 = newSeed()
    ) throws {
        print("fuzz seed \(seed)")
        var fuzz = HTTPFuzz(seed: seed, corpus: corpus)
        for number in 0..<count {
            let bytes = fuzz.nextRequest()
            let words =
                "seed \(seed), request \(number): \(String(decoding: bytes, as: UTF8.self).debugDescription)"
            let client = try HTTPClient(port: port)
            // The server may have closed before it has read all of it.
            try? client.send(bytes)
            client.finishSending()
            guard let answer = client.rest() else { throw Failure("neither answered nor closed: \(words)") }
            guard answer.isEmpty || answer.starts(with: "HTTP/1.1 ".utf8) else {
                throw Failure("no answer of HTTP: \(words)")
            }
        }
    }

    private mutating func below(_ bound: Int) -> Int { bound > 0 ? Int(random.next() % UInt64(bound)) : 0 }

    private mutating func nextRequest() -> [UInt8] {
        if below(10) == 0 { return (0..<below(300)).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
        var bytes = corpus[below(corpus.count)]
        if below(3) == 0 { bytes += corpus[below(corpus.count)] }
        for _ in 0..<(1 + below(6)) { damage(&bytes) }
        return bytes
    }

    private mutating func damage(_ bytes: inout [UInt8]) {
        guard !bytes.isEmpty else { return }
        let at = below(bytes.count)
        let end = min(bytes.count, at + 1 + below(12))
        let special = Array("\r\n\0\t %\":,;/?&=+-*{}[]\\0129aWeE\u{7F}".utf8) + [0x80, 0xC3, 0xED, 0xFF]
        switch below(7) {
        case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes[at] = special[below(special.count)]
        case 2: bytes.insert(special[below(special.count)], at: at)
        case 3: bytes.removeSubrange(at..<end)
        case 4: bytes.insert(contentsOf: bytes[at..<end], at: at)
        case 5: bytes.insert(contentsOf: Array(repeating: bytes[at], count: below(2000)), at: at)
        default: bytes.replaceSubrange(at..<end, with: corpus[below(corpus.count)].prefix(below(40)))
        }
    }
}
