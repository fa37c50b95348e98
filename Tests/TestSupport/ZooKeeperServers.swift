import Foundation
import Glibc
import Synchronization

/// Real ZooKeeper servers for a test, on free ports of the loopback. They end with the value, or with the test process.
package final class ZooKeeperServers: Sendable {
    /// Where the servers are reached: `127.0.0.1:port`, joined by commas.
    package let servers: String
    /// The ports of the servers, in their order.
    package var ports: [Int] { servers.split(separator: ",").compactMap { Int($0.drop { $0 != ":" }.dropFirst()) } }
    private let folder: String

    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../scripts/zookeeper").standardizedFileURL.path

    /// Whether servers can be started here; tests that need one are skipped where not.
    package static let isAvailable: Bool = {
        let check = Result { try run(["check"]) }
        if case .failure = check {
            print("zookeeper: tests that need a server are skipped; scripts/zookeeper check says why")
        }
        return (try? check.get()) != nil
    }()

    /// One server that all tests of the process share, and none must harm.
    package static let shared = Result { try ZooKeeperServers() }

    /// Starts servers and returns when they serve.
    ///
    /// - Parameters:
    ///   - count: one, or the three of an ensemble that survives the loss of one.
    ///   - tick: the servers' unit of time, in milliseconds; a session lasts two of them at least.
    package init(_ count: Int = 1, tick: Int = 250) throws {
        // No `TemporaryFolder`: the servers may live longer than this value would.
        folder = NSTemporaryDirectory() + "affinity-zookeeper-\(UUID().uuidString)"
        let output = try Self.run([
            "start", folder, "--servers", "\(count)", "--port", "0", "--tick", "\(tick)", "--until", "\(getpid())",
        ])
        guard let last = output.split(separator: "\n").last else { throw Failure("scripts/zookeeper says nothing") }
        servers = String(last)
    }

    deinit { stop() }

    /// Ends the servers, without ceremony; does nothing if they have ended.
    package func stop() {
        for number in 1...ports.count {
            if let pid = try? pid(number) { Glibc.kill(pid, SIGKILL) }
        }
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Ends server `number`, from 1 on, without warning.
    package func kill(_ number: Int = 1) throws {
        let pid = try pid(number)
        Glibc.kill(pid, SIGKILL)
        try waitUntil("the end of server \(number)") { Glibc.kill(pid, 0) != 0 }
    }

    /// Starts server `number` again after it was killed; it may not serve yet when this returns.
    package func start(_ number: Int = 1) throws { _ = try Self.run(["server", folder, "\(number)"]) }

    /// Lets server `number` do nothing for a while, as if its machine was busy with something else.
    package func pause(_ number: Int = 1) throws { try pauseProcess(try pid(number)) }

    /// Lets a server that was paused go on.
    package func resume(_ number: Int = 1) throws { Glibc.kill(try pid(number), SIGCONT) }

    /// What server `number` says to a command of four letters; `nil` if it says nothing.
    package func ask(_ number: Int, _ command: String) -> String? {
        guard let client = try? HTTPClient(port: ports[number - 1]) else { return nil }
        try? client.send(command)
        return client.rest().map { String(decoding: $0, as: UTF8.self) }
    }

    /// Which server leads; waits for one.
    package func leader() throws -> Int {
        var found: Int?
        try waitUntil("a leader") {
            found = (1...ports.count).first { ask($0, "srvr")?.contains("Mode: leader") == true }
            return found != nil
        }
        return found ?? 0
    }

    private func pid(_ number: Int) throws -> pid_t {
        guard let pid = pid_t(try text("\(number)/pid")) else { throw Failure("no pid of server \(number)") }
        return pid
    }

    private func text(_ file: String) throws -> String {
        try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @discardableResult
    private static func run(_ arguments: [String]) throws -> String {
        let child = try Child(script, arguments)
        guard try child.waitForExit(within: 120) == 0 else {
            throw Failure("scripts/zookeeper \(arguments.joined(separator: " ")): \(child.text)")
        }
        return child.text
    }
}
