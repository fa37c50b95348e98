import Foundation

/// A folder of its own for a test, removed with the object.
package final class TemporaryFolder: Sendable {
    package let path: String

    package init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("affinity-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    package func copy(_ from: String, to: String) throws {
        try FileManager.default.copyItem(atPath: from, toPath: "\(path)/\(to)")
    }
}
