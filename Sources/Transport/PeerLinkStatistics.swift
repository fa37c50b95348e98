internal import AffinityNet

/// What the connections of a link have done so far: for tests and benchmarks.
package struct PeerLinkStatistics: Sendable {
    /// Connections, in both directions, with those that have ended.
    package private(set) var connections = 0
    /// Bytes that the system has taken.
    package private(set) var sentBytes: UInt64 = 0
    /// System calls that sent them.
    package private(set) var writes: UInt64 = 0
    /// Bytes that wait to be sent.
    package private(set) var unsentBytes = 0

    mutating func add(_ stream: TCPStream) {
        connections += 1
        sentBytes += stream.sent
        writes += stream.writes
        unsentBytes += stream.unsent
    }

    mutating func add(_ other: PeerLinkStatistics) {
        connections += other.connections
        sentBytes += other.sentBytes
        writes += other.writes
        unsentBytes += other.unsentBytes
    }
}
