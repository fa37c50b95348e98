import AffinityTestSupport
import Foundation
import Glibc
import Synchronization

/// A node of the system: a process that comes and goes, at addresses that stay.
final class ClusterNode: Sendable {
    let id: String
    /// Where clients reach it.
    let port: Int
    let networks: Networks
    private let folder: String
    private let arguments: [String]
    private let state = Mutex(State())

    private struct State {
        var child: Child?
        var starts = 0
        var isPaused = false
    }

    /// - Parameter folder: of what it keeps, its output and its process id included.
    init(_ id: String, port: Int, _ networks: Networks, folder: String, arguments: [String]) throws {
        (self.id, self.port, self.networks) = (id, port, networks)
        (self.folder, self.arguments) = (folder, arguments)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    // MARK: - Life

    var isRunning: Bool { state.withLock { $0.child?.isRunning == true } }
    /// Whether it runs and is not paused.
    var canAnswer: Bool { state.withLock { $0.child?.isRunning == true && !$0.isPaused } }

    func start() throws {
        guard !isRunning else { return }
        keepOutput()
        let child = try Child(
            Programs.keyValue,
            ["--node.id", id, "--node.data", "\(folder)/data", "--gateway.listeners", "http://127.0.0.1:\(port)"]
                + arguments)
        // For scripts/faults: it ends what is left if this program ends without doing so.
        try "\(child.pid)\n".write(toFile: processFile, atomically: true, encoding: .utf8)
        state.withLock { state in
            state.child = child
            state.starts += 1
            state.isPaused = false
        }
    }

    /// Ends it as a crash does.
    func kill() throws {
        try child?.killNow()
        forgetProcess()
    }

    /// Ends it as an operator does; gives the exit code.
    @discardableResult
    func stop() throws -> Int32 {
        guard let child else { return 0 }
        child.send(SIGTERM)
        defer { forgetProcess() }
        return try child.waitForExit(within: 60)
    }

    /// Takes all that it keeps from a node that does not run, as a new disk does.
    func loseData() throws { try FileManager.default.removeItem(atPath: "\(folder)/data") }

    func pause() {
        state.withLock { $0.isPaused = true }
        child?.send(SIGSTOP)
    }

    func resume() {
        child?.send(SIGCONT)
        state.withLock { $0.isPaused = false }
    }

    private var processFile: String { "\(folder)/pid" }
    private func forgetProcess() { unlink(processFile) }

    private var child: Child? { state.withLock { $0.child } }

    /// Writes what the last process has said into a file.
    func keepOutput() {
        let (child, starts) = state.withLock { ($0.child, $0.starts) }
        try? child?.text.write(toFile: "\(folder)/log-\(starts)", atomically: true, encoding: .utf8)
    }

    /// Lines that tell of something that must not be.
    var errors: [String] { child?.lines.filter { $0.level == "error" }.map(\.text) ?? [] }

    // MARK: - Asking

    func connect(timeout: Int = 5) throws -> HTTPClient { try HTTPClient(port: port, timeout: timeout) }

    var isReady: Bool { (try? connect().ask("GET", "/readyz").status) == 200 }

    /// What it says of the system; `nil` if it does not answer.
    var status: NodeStatus? {
        guard canAnswer, let answer = try? connect().ask("GET", "/status"), answer.status == 200 else { return nil }
        return try? JSONDecoder().decode(NodeStatus.self, from: Data(answer.text.utf8))
    }
}

/// What is of interest in `/status`.
struct NodeStatus: Decodable {
    struct Keyspace: Decodable { var partitions: [Partition] }
    struct Partition: Decodable {
        var partition: Int
        var master: String?
        var epoch: UInt64
        var role: String
        var state: String
        var reason: String?
        var position: String
        var lag: Int64
        var inFlight: Int
        var standbys: [String]
        var next: [String]?
    }
    struct Cluster: Decodable {
        var session: String?
        var timeout: Int?
    }

    var nodes: [Member]
    var keyspaces: [String: Keyspace]
    var cluster: Cluster?
    struct Member: Decodable { var id: String }

    var partitions: [Partition] { keyspaces["kv"]?.partitions ?? [] }
}
