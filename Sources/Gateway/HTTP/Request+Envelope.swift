internal import AffinityConfiguration
public import AffinityCore
internal import AffinityNet

/// What a client says beside its request: deadline, positions, idempotency, trace context.
extension Request {
    /// The envelope for the messages that the request becomes.
    ///
    /// - Throws: 400 for a header that cannot be read.
    public func envelope() throws(HTTPError) -> Envelope {
        var envelope = Envelope(deadline: try deadline())
        envelope.positions = try positions()
        envelope.traceparent = traceparent
        return envelope
    }

    /// The envelope for the query that the request becomes: with what it says of answers from standbys.
    ///
    /// - Throws: 400 for a header that cannot be read.
    public func readEnvelope() throws(HTTPError) -> Envelope {
        var envelope = try envelope()
        envelope.staleness = try staleness()
        return envelope
    }

    /// The envelope for the command that the request becomes: with its idempotency key, if it has one.
    ///
    /// - Throws: 400 for a header that cannot be read.
    public func commandEnvelope() throws(HTTPError) -> Envelope {
        var envelope = try envelope()
        guard let text = try header("idempotency-key") else { return envelope }
        let isQuoted = text.hasPrefix("\"") && text.hasSuffix("\"") && text.utf8.count >= 2
        let name = isQuoted ? String(text.dropFirst().dropLast()) : text
        guard (1...255).contains(name.utf8.count), name.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw HTTPError(400, "Idempotency-Key must be 1 to 255 visible ASCII characters")
        }
        envelope.idempotency = IdempotencyKey(name, digest: digest)
        return envelope
    }

    /// What makes two requests the same one: method, path, query and body. The path as it was meant: another spelling
    /// of it, or another node's address in front, is no other path.
    private var digest: [UInt8] {
        var head = Array(method.utf8)
        for segment in location.segments {
            head.append(0)
            // Before each segment its length: a decoded one may hold any byte.
            withUnsafeBytes(of: UInt64(segment.utf8.count).bigEndian) { head.append(contentsOf: $0) }
            head.append(contentsOf: segment.utf8)
        }
        head.append(1)
        if let query = location.query { head.append(contentsOf: query) }
        head.append(0)
        return Digest.sha256([head, http.body])
    }

    /// Whether the client takes an answer from a standby, and how old it may be.
    ///
    /// - Returns: `nil` if only the master will do.
    /// - Throws: 400 for a header that cannot be read.
    public func staleness() throws(HTTPError) -> Duration? {
        let lag = try header("affinity-max-lag").map { text throws(HTTPError) in
            guard let lag = DurationText.parse(text), lag >= .zero else {
                throw HTTPError(400, "Affinity-Max-Lag must be a duration like 500ms")
            }
            return lag
        }
        guard let mode = try header("affinity-read") else { return nil }
        guard mode.lowercased() == "stale" else { throw HTTPError(400, "Affinity-Read can only be: stale") }
        return lag ?? .seconds(1)
    }

    /// As long as the configured deadline may be at most.
    private static let longestTimeout = Duration.seconds(3600)

    private func deadline() throws(HTTPError) -> MonotonicTime {
        guard let text = try header("affinity-timeout") else { return received.advanced(nanoseconds: context.deadline) }
        guard let timeout = DurationText.parse(text) else {
            throw HTTPError(400, "Affinity-Timeout must be a duration like 2s")
        }
        // What waits for it must not outlive its client for ever.
        let deadline = received.advanced(by: min(timeout, Self.longestTimeout))
        // A client may have no time left to give; then it is certain that nothing was done.
        guard context.clock.monotonic < deadline else {
            throw HTTPError(503, "the deadline has passed", headers: [("Retry-After", "1")])
        }
        return deadline
    }

    /// `3:1841`, or several of them: the partition, and what we wrote behind the colon ourselves.
    ///
    /// A partition that comes more than once is waited for until it has come to all of them.
    private func positions() throws(HTTPError) -> [Int: Position] {
        var positions: [Int: Position] = [:]
        for field in http.headers("affinity-position") {
            for token in field.split(separator: ",", omittingEmptySubsequences: false) {
                let parts = token.trimmed.split(separator: ":", omittingEmptySubsequences: false)
                guard parts.count == 2, parts[0].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                    let partition = Int(parts[0]), let position = Position(parts[1])
                else { throw HTTPError(400, "Affinity-Position cannot be read: \(token.trimmed)") }
                positions[partition] = positions[partition].map { Self.farther($0, position) } ?? position
            }
        }
        return positions
    }

    /// The least position that covers both.
    private static func farther(_ a: Position, _ b: Position) -> Position {
        let (long, short) = a.offsets.count >= b.offsets.count ? (a, b) : (b, a)
        var offsets = long.offsets
        for (index, offset) in short.offsets.enumerated() { offsets[index] = max(offsets[index], offset) }
        return Position(offsets)
    }
}
