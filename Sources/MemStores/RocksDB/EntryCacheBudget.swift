internal import Synchronization

/// The memory that the memstores of a node may use together for entries that were read lately: each an equal share.
///
/// When more memstores are opened, shares become smaller; those that are there come down to them as they are read and
/// written, some entries at a time, and one that nobody uses stays as it is. Can be used on any thread.
public final class EntryCacheBudget: Sendable {
    /// How much there is, in bytes; 0 for no cache.
    public let bytes: Int
    private let members = Atomic(0)
    private let used = Atomic(0)

    /// A budget of so many bytes.
    public init(bytes: Int) { self.bytes = max(0, bytes) }

    /// About how much is used, in bytes.
    public var usage: Int { used.load(ordering: .relaxed) }

    /// How much one memstore may use now.
    var share: Int { bytes / max(1, members.load(ordering: .relaxed)) }

    func join() { members.add(1, ordering: .relaxed) }

    func leave(giving bytes: Int) {
        members.subtract(1, ordering: .relaxed)
        count(-bytes)
    }

    func count(_ difference: Int) { used.add(difference, ordering: .relaxed) }
}
