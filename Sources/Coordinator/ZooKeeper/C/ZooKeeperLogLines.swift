internal import AffinityCore
internal import CZooKeeper
internal import Synchronization

/// Takes the log lines of one handle of the C client, on any of its threads.
///
/// C calls a function without any context, so there is one function for each of a few handles. A process has one
/// handle, a test several; the lines of those that find no function left are dropped.
final class ZooKeeperLogLines: Sendable {
    private let report: Reporter
    private let slot: Int
    private let lastFailure = Mutex("")

    init(_ report: @escaping Reporter) {
        self.report = report
        slot = slots.withLock { slots in
            guard let free = slots.firstIndex(where: { !$0.isTaken }) else { return slots.count }
            slots[free].isTaken = true
            return free
        }
        slots.withLock { if slot < $0.count { $0[slot].lines = self } }
    }

    /// What C is to call; until `end` has been called.
    var callback: log_callback_fn { callbacks[slot] }

    /// What became of the last connection that was lost or could not be made, in the library's words.
    var failure: String { lastFailure.withLock { $0 } }

    /// Called when C has ended the handle.
    func end() { slots.withLock { if slot < $0.count { $0[slot] = Slot() } } }

    /// `2024-01-01 00:00:00,123:77(0x7f):ZOO_ERROR@function@123: text`.
    fileprivate func take(_ line: String) {
        let parts = line.split(separator: "@", maxSplits: 2)
        guard parts.count == 3, let colon = parts[2].firstIndex(of: ":") else { return }
        let text = String(parts[2][colon...].dropFirst(2).filter { $0 != "\n" })
        let isFailure = text.hasPrefix("Socket ") || text.hasPrefix("getaddrinfo")
        if isFailure { lastFailure.withLock { $0 = text } }
        let matters = !isFailure && !parts[0].hasSuffix("ZOO_INFO") && !Self.isExpected(text)
        report(Report(matters ? .warning : .debug, "libzookeeper", [("reason", text)]))
    }

    /// What is said again and again while no server can be reached; the session reports the course of that itself.
    private static func isExpected(_ text: String) -> Bool {
        ["Delaying connection", "Exceeded deadline", "Timed out"].contains(where: text.hasPrefix)
    }
}

private struct Slot {
    var isTaken = false
    weak var lines: ZooKeeperLogLines?
}

private let slots = Mutex([Slot](repeating: Slot(), count: callbacks.count - 1))

/// The last one is for those that find no slot.
private let callbacks: [@convention(c) @Sendable (UnsafePointer<CChar>?) -> Void] = [
    { take(0, $0) }, { take(1, $0) }, { take(2, $0) }, { take(3, $0) }, { take(4, $0) },
    { take(5, $0) }, { take(6, $0) }, { take(7, $0) }, { take(8, $0) }, { take(9, $0) },
    { take(10, $0) }, { take(11, $0) }, { take(12, $0) }, { take(13, $0) }, { take(14, $0) },
    { take(15, $0) }, { take(16, $0) }, { take(17, $0) }, { take(18, $0) }, { take(19, $0) },
    { take(20, $0) }, { take(21, $0) }, { take(22, $0) }, { take(23, $0) }, { take(24, $0) },
    { take(25, $0) }, { take(26, $0) }, { take(27, $0) }, { take(28, $0) }, { take(29, $0) },
    { take(30, $0) }, { _ in },
]

private func take(_ slot: Int, _ line: UnsafePointer<CChar>?) {
    guard let line, let lines = slots.withLock({ $0[slot].lines }) else { return }
    lines.take(String(cString: line))
}
