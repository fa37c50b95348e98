internal import CRocksDB

/// Why RocksDB could not do what it was asked.
public struct RocksDBError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public struct Code: Hashable, Sendable {
        private enum Kind { case io, full, corrupt, busy, invalid, closed, other }
        private let kind: Kind

        /// The operating system refused to read or write.
        public static let io = Code(kind: .io)
        /// There is no space left.
        public static let full = Code(kind: .full)
        /// What is on disk is not what was written.
        public static let corrupt = Code(kind: .corrupt)
        /// Somebody else has the database open.
        public static let busy = Code(kind: .busy)
        /// RocksDB does not take these options or arguments.
        public static let invalid = Code(kind: .invalid)
        /// The database was closed.
        public static let closed = Code(kind: .closed)
        /// Anything else; the reason says what.
        public static let other = Code(kind: .other)
    }

    /// What kind of failure it is.
    public let code: Code
    /// What happened, with the folder of the database.
    public let reason: String

    /// A failure of that kind.
    public init(_ code: Code, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// The reason.
    public var description: String { reason }

    /// Takes the message of `status` over and frees it; `nil` for success.
    init?(_ status: crocks_status, path: String) {
        let message = status.message.map { String(cString: $0) }
        crocks_free(status.message)
        switch status.code {
        case crocks_ok: return nil
        case crocks_io: code = .io
        case crocks_full: code = .full
        case crocks_corrupt: code = .corrupt
        case crocks_busy: code = .busy
        case crocks_invalid: code = .invalid
        case crocks_closed: code = .closed
        default: code = .other
        }
        let what = code == .busy ? "in use by another process, or opened twice by this one" : message
        reason = "\(path): \(what ?? "the database is closed")"
    }

    /// Throws what `status` says, if it is a failure.
    static func check(_ status: crocks_status, path: String) throws(RocksDBError) {
        // The message is taken over here, so a status is checked once.
        if let error = RocksDBError(status, path: path) { throw error }
    }
}
