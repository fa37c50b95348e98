public import AffinityCore
internal import AffinityConfiguration
internal import AffinityNet

/// What a client says beside its request: deadline, positions, idempotency, trace context.
extension Request {
    /// The envelope for the messages that the request becomes.
    ///
    /// - Throws: 400 for a header that cannot be read.
    public func envelope() throws(HTTPError) -> Envelope {
        var envelope = Envelope(deadline: received.advanced(by: try timeout()))
        envelope.positions = try positions()
        envelope.traceparent = http.header("traceparent")
        return envelope
    }

    /// The envelope for the command that the request becomes: with its idempotency key, if it has one.
    ///
    /// - Throws: 400 for a header that cannot be read.
    public func commandEnvelope() throws(HTTPError) -> Envelope {
        var envelope = try envelope()
        guard let text = try header("idempotency-key") else { return envelope }
        let name = text.hasPrefix("\"") && text.hasSuffix("\"") && text.utf8.count >= 2
            ? String(text.dropFirst().dropLast()) : text
        guard (1...255).contains(name.utf8.count), name.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw HTTPError(400, "Idempotency-Key must be 1 to 255 visible ASCII characters")
        }
        let digest = Digest.sha256([Array(method.utf8), [0], Array(target.utf8), [0], http.body])
        envelope.idempotency = IdempotencyKey(name, digest: digest)
        return envelope
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

    private func timeout() throws(HTTPError) -> Duration {
        guard let text = try header("affinity-timeout") else { return context.deadline }
        guard let timeout = DurationText.parse(text), timeout >= .zero, timeout <= .seconds(86_400) else {
            throw HTTPError(400, "Affinity-Timeout must be a duration like 2s, at most a day")
        }
        return timeout
    }

    /// `3:1841`, or several of them: the partition, and what we wrote behind the colon ourselves.
    private func positions() throws(HTTPError) -> [Int: Position] {
        var positions: [Int: Position] = [:]
        for field in http.headers("affinity-position") {
            for token in field.split(separator: ",", omittingEmptySubsequences: false) {
                let parts = token.trimmed.split(separator: ":", omittingEmptySubsequences: false)
                guard parts.count == 2, parts[0].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                    let partition = Int(parts[0]), let position = Position(parts[1])
                else { throw HTTPError(400, "Affinity-Position cannot be read: \(token.trimmed)") }
                positions[partition] = position
            }
        }
        return positions
    }
}
