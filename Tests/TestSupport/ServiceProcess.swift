import Foundation

/// A node in a process of its own, on a free port of the loopback. Ends with the value, at the latest.
package final class ServiceProcess: Sendable {
    package let child: Child
    package let port: Int
    /// What holds the data, if it is to be kept for as long as the process.
    package let folder: TemporaryFolder?
    private let patience: Double
    private let timeout: Int

    /// Starts it and returns once it listens.
    ///
    /// - Parameters:
    ///   - environment: what is added to the environment of the test.
    ///   - workingFolder: where it runs; `nil` for where the tests do.
    ///   - patience: how many seconds anything may take unless more is said.
    ///   - timeout: how many seconds an answer may take.
    package init(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], in workingFolder: String? = nil,
        keeping folder: TemporaryFolder? = nil,
        within patience: Double = 60, answersWithin timeout: Int = 60
    ) throws {
        (self.folder, self.patience, self.timeout) = (folder, patience, timeout)
        let listeners = arguments.contains(Self.listeners[0]) ? [] : Self.listeners
        child = try Child(program, listeners + arguments, environment: environment, folder: workingFolder)
        do {
            let line = try child.line(within: patience) { $0.message == "listening" }
            let port = line.fields["address"]?.split(separator: ":").last.flatMap { Int($0) }
            guard let port else { throw Failure("no port in \(line.text)") }
            self.port = port
        } catch {
            child.send(SIGKILL)
            throw error
        }
    }

    deinit { try? child.killNow() }

    /// The arguments that make a node listen at a free port.
    package static let listeners = ["--gateway.listeners", "http://127.0.0.1:0"]

    /// Where it listens for operators, if it is told to; `operators` are the arguments for a free port.
    package var adminPort: Int {
        get throws {
            let line = try child.line(within: patience) { $0.message == "listening for operators" }
            let port = line.fields["address"]?.split(separator: ":").last.flatMap { Int($0) }
            guard let port else { throw Failure("no port in \(line.text)") }
            return port
        }
    }
    package static let operators = ["--admin.listeners", "http://127.0.0.1:0"]

    /// A new connection.
    package func connect(timeout: Int? = nil) throws -> HTTPClient {
        try HTTPClient(port: port, timeout: timeout ?? self.timeout)
    }

    /// Returns when every partition serves.
    package func waitUntilReady() throws { try waitUntil { try connect().ask("GET", "/readyz").status == 200 } }

    /// Asks until it is so; fails when the process ends, or when it takes too long.
    package func waitUntil(within seconds: Double? = nil, _ isSo: () throws -> Bool) throws {
        try AffinityTestSupport.waitUntil("a state; it printed:\n\(child.text)", within: seconds ?? patience) {
            if try isSo() { return true }
            if let exit = child.exit { throw Failure("ended with \(exit):\n\(child.text)") }
            return false
        }
    }

    /// Ends it as an operator does, and gives the exit code.
    package func stop(within seconds: Double? = nil) throws -> Int32 {
        child.send(SIGTERM)
        return try child.waitForExit(within: seconds ?? patience)
    }
}

/// The programs of this package, which are built beside the test bundle.
package enum Programs {
    package static let keyValue = path("KeyValue")
    package static let bank = path("Bank")
    package static let counter = path("Counter")
    package static let affinity = path("affinity")
    package static let simulate = path("Simulate")

    /// The test bundle is the process that runs, or an argument of it.
    private static func path(_ name: String) -> String {
        var candidates = [Bundle.main.executablePath ?? ""] + CommandLine.arguments
        candidates += Bundle.allBundles.map(\.bundlePath)
        let folders = candidates.map { URL(fileURLWithPath: $0).deletingLastPathComponent().path }
        return folders.map { "\($0)/\(name)" }.first { FileManager.default.isExecutableFile(atPath: $0) } ?? name
    }
}
