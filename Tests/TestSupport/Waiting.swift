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
