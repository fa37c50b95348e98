/// The outcomes of requests with an idempotency key (PROTOCOL §9).
///
/// They are entries of the internal store `_requests`, written with the command, so they survive restart and
/// failover. This type knows their layout and which of them have had their time; `PartitionCore` reads and writes them.
@usableFromInline struct AnsweredRequests {
    /// The internal store is the first of every partition.
    static let storeIndex = 0
    static let storeName = "_requests"

    /// What was answered, and to what.
    struct Outcome: Equatable {
        var digest: [UInt8]
        var isRejected: Bool
        /// The version of what the command wrote last.
        var version: Version
        /// The reply or the rejection as JSON.
        var answer: [UInt8]

        private static let layout: UInt8 = 1

        var bytes: [UInt8] {
            var bytes: [UInt8] = [Self.layout, isRejected ? 1 : 0]
            bytes.appendBigEndian(version.rawValue)
            bytes.appendBigEndian(UInt16(clamping: digest.count))
            bytes.append(contentsOf: digest.prefix(Int(UInt16.max)))
            bytes.append(contentsOf: answer)
            return bytes
        }

        init(digest: [UInt8], isRejected: Bool, version: Version, answer: [UInt8]) {
            self.digest = digest
            self.isRejected = isRejected
            self.version = version
            self.answer = answer
        }

        init?(bytes: [UInt8]) {
            var reader = ByteReader(bytes)
            guard reader.number(UInt8.self) == Self.layout, let isRejected = reader.number(UInt8.self),
                let version = reader.number(UInt64.self), let length = reader.number(UInt16.self),
                let digest = reader.bytes(Int(length))
            else { return nil }
            self.init(digest: digest, isRejected: isRejected != 0, version: Version(version), answer: reader.rest())
        }
    }

    private let window: Duration
    /// The keys in the order in which they expire: that of their writing.
    private var expiring = Queue<(key: [UInt8], expires: Timestamp)>()

    init(window: Duration) { self.window = window }

    /// The entry's key: the request's name within the routing key of its command.
    static func key(_ request: IdempotencyKey, routing: [UInt8]) -> [UInt8] {
        var key: [UInt8] = []
        key.appendBigEndian(UInt32(clamping: routing.count))
        key.append(contentsOf: routing)
        key.append(contentsOf: request.name.utf8)
        return key
    }

    mutating func remember(_ key: [UInt8], written: Timestamp) {
        expiring.append((key, written.advanced(by: window)))
    }

    /// Whether an outcome has had its time.
    func isExpired(_ entry: StoredEntry, at time: Timestamp) -> Bool { entry.time.advanced(by: window) <= time }

    /// When the next outcome has had its time; `nil` if there is none.
    var nextExpiry: Timestamp? { expiring.first?.expires }

    /// Takes out up to `limit` keys whose time has passed.
    mutating func expired(at time: Timestamp, limit: Int) -> [[UInt8]] {
        var keys: [[UInt8]] = []
        while keys.count < limit, let first = expiring.first, first.expires <= time {
            keys.append(first.key)
            _ = expiring.popFirst()
        }
        return keys
    }
}
