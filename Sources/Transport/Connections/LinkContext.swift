internal import AffinityCore
internal import AffinityNet
internal import Synchronization

/// What answers requests of a type.
typealias PeerHandler = @Sendable (_ request: [UInt8], _ deadline: MonotonicTime) async throws(PeerError) -> [UInt8]

/// What all connections of a link share.
final class LinkContext: Sendable {
    let configuration: PeerLinkConfiguration
    let identity: PeerIdentity
    let clock: any NodeClock
    let report: Reporter
    let resolver = NameResolver()
    let handlers = HandlerTable()

    init(_ configuration: PeerLinkConfiguration, _ clock: any NodeClock, _ report: @escaping Reporter) {
        self.configuration = configuration
        identity = configuration.identity
        self.clock = clock
        self.report = report
    }
}

/// The handlers by the names of their types.
final class HandlerTable: Sendable {
    /// A handler and the name that requests give.
    struct Entry: Sendable {
        let name: [UInt8]
        let handler: PeerHandler
    }

    private let entries = Mutex<[Entry]>([])

    /// Adds a handler.
    ///
    /// - Precondition: the type has none, and its name has from 1 to 255 bytes.
    func add(_ type: String, _ handler: @escaping PeerHandler) {
        let name = Array(type.utf8)
        precondition(!name.isEmpty && name.count <= 255, "the type of a request must have from 1 to 255 bytes")
        entries.withLock { entries in
            precondition(!entries.contains { $0.name == name }, "\(type) has a handler already")
            entries.append(Entry(name: name, handler: handler))
        }
    }

    /// Forgets all of them, and what they hold: often the link itself.
    func removeAll() {
        // Freed outside of the lock: that may call anything.
        _ = entries.withLock { entries in
            defer { entries = [] }
            return entries
        }
    }

    /// All of them, to be kept: what is there does not change.
    var all: [Entry] { entries.withLock { $0 } }
}
