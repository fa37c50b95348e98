import Foundation

/// Looks again and again until it is so; for states that nothing announces.
///
/// - Throws: `Failure` if it is not so within `seconds`.
package func waitUntil(
    _ what: @autoclosure () -> String, within seconds: Double = 60, _ isSo: () throws -> Bool
) throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while try !isSo() {
        guard ContinuousClock.now < deadline else { throw Failure("waited \(seconds) s for \(what())") }
        usleep(1_000)
    }
}

/// Stops a process, and returns when each of its threads stands still: the signal alone says nothing of when.
package func pauseProcess(_ pid: Int32) throws {
    kill(pid, SIGSTOP)
    let threads = "/proc/\(pid)/task"
    try waitUntil("process \(pid) to stand still") {
        try FileManager.default.contentsOfDirectory(atPath: threads).allSatisfy { thread in
            // The state stands behind the name, which is in parentheses.
            guard let text = try? String(contentsOfFile: "\(threads)/\(thread)/stat", encoding: .utf8) else {
                return true
            }
            return text.split(separator: ")").last?.hasPrefix(" T") == true
        }
    }
}

/// Runs what blocks on a thread of its own, not on Swift's.
package func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        let thread = Thread { continuation.resume(with: Swift.Result { try body() }) }
        thread.stackSize = 8 << 20
        thread.start()
    }
}

/// Why a test cannot go on.
package struct Failure: Error, CustomStringConvertible {
    package var description: String

    package init(_ description: String) { self.description = description }
}
