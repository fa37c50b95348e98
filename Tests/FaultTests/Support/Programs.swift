import Foundation

/// Where the programs and the sources are.
enum Programs {
    static let keyValue = path("KeyValue")
    static let counter = path("Counter")

    /// The checkout.
    static let checkout = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path

    /// Programs are built beside the test bundle, which is the process that runs, or an argument of it.
    private static func path(_ name: String) -> String {
        var candidates = [Bundle.main.executablePath ?? ""] + CommandLine.arguments
        candidates += Bundle.allBundles.map(\.bundlePath)
        let folders = candidates.map { URL(fileURLWithPath: $0).deletingLastPathComponent().path }
        return folders.map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) } ?? name
    }
}

/// Runs what blocks on a thread of its own, not on Swift's.
func blocking<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        let thread = Thread { continuation.resume(with: Swift.Result { try body() }) }
        thread.stackSize = 8 << 20
        thread.start()
    }
}

/// A folder of one test, removed at its end.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/affinity-faults-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func copy(_ from: String, to: String) throws {
        try FileManager.default.copyItem(atPath: from, toPath: "\(path)/\(to)")
    }
}

/// Numbers that a seed decides (SplitMix64).
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
