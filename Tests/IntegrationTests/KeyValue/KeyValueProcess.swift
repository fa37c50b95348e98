import Foundation
import Testing

/// A KeyValue service in a process of its own, on a free port, with a data folder that is removed with it.
final class KeyValueProcess: Sendable {
    struct Failure: Error, CustomStringConvertible { var description: String }

    let pid: pid_t
    let port: Int
    /// What holds the data; handed to another process to restart with it.
    let folder: TemporaryFolder
    private let output: String

    /// Starts the binary beside the tests, and waits until it is ready.
    ///
    /// - Parameters:
    ///   - folder: data of a former process, if it is to be taken over.
    ///   - arguments: further ones, such as `--keyspaces.kv.memstore`, `rocksdb`.
    init(_ folder: TemporaryFolder = TemporaryFolder(), _ arguments: [String] = [], seconds: Double = 20) throws {
        self.folder = folder
        output = "\(folder.path)/output-\(UInt32.random(in: 0 ... .max))"
        pid = try Self.spawn(
            [
                try Self.binary(), "--node.data", "\(folder.path)/data", "--gateway.listeners", "http://127.0.0.1:0",
            ] + arguments, output)
        let (pid, output) = (pid, output)
        do {
            var port: Int?
            try Self.wait("a port in \(output)", seconds) {
                guard Self.exitCode(pid) == nil else { throw Failure(description: "it ended: \(Self.text(output))") }
                port = Self.port(in: Self.text(output))
                return port != nil
            }
            self.port = port ?? 0
        } catch {
            kill(pid, SIGKILL)
            throw error
        }
        try waitUntilReady(seconds: seconds)
    }

    deinit {
        if Self.exitCode(pid) == nil { kill(pid, SIGKILL) }
        var status: Int32 = 0
        waitpid(pid, &status, 0)
    }

    /// A new connection.
    func connect(timeout: Int = 15) throws -> HTTPTestClient { try HTTPTestClient(port: port, timeout: timeout) }

    /// Everything that it printed.
    var printed: String { Self.text(output) }

    /// Whether it still runs.
    var isRunning: Bool { Self.exitCode(pid) == nil }

    func waitUntilReady(seconds: Double = 20) throws {
        try Self.wait("readiness; it printed \(printed)", seconds) {
            (try? connect().ask("GET", "/readyz").status) == 200
        }
    }

    /// Ends it as an operator does, and returns its exit code.
    @discardableResult func terminate(seconds: Double = 20) throws -> Int32 {
        kill(pid, SIGTERM)
        return try end(seconds)
    }

    /// Ends it as the power does.
    func crash() throws {
        kill(pid, SIGKILL)
        _ = try end(20)
    }

    private func end(_ seconds: Double) throws -> Int32 {
        var code: Int32?
        try Self.wait("the end of \(pid); it printed \(printed)", seconds) {
            code = Self.exitCode(pid)
            return code != nil
        }
        return code ?? -1
    }

    // MARK: - Processes

    /// Looks again and again until `condition` holds.
    static func wait(_ what: String, _ seconds: Double, _ condition: () throws -> Bool) throws {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while try !condition() {
            guard ContinuousClock.now < deadline else { throw Failure(description: "waited too long for \(what)") }
            usleep(10_000)
        }
    }

    /// Without waiting; `nil` while it runs. -1 where a signal ended it, or where its end has been seen before.
    private static func exitCode(_ pid: pid_t) -> Int32? {
        var info = siginfo_t()
        // Leaves it to be seen again: the number is ours until the last one has looked.
        guard waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 else { return -1 }
        guard info.si_signo != 0 else { return nil }
        return info.si_code == Int32(CLD_EXITED) ? info._sifields._sigchld.si_status : -1
    }

    /// The products stand beside the program that runs the tests.
    private static func binary() throws -> String {
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let binary = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("KeyValue").path
        guard FileManager.default.isExecutableFile(atPath: binary) else {
            throw Failure(description: "there is no \(binary)")
        }
        return binary
    }

    private static func spawn(_ arguments: [String], _ output: String) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var pid: pid_t = 0
        var pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        let code = posix_spawn(&pid, arguments[0], &actions, nil, &pointers, environ)
        guard code == 0 else { throw Failure(description: "\(arguments[0]): \(code)") }
        return pid
    }

    private static func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

    private static func port(in output: String) -> Int? {
        let address = "http://127.0.0.1:"
        guard
            let line = output.split(separator: "\n").first(where: { $0.contains("listening") && $0.contains(address) }),
            let range = line.range(of: address)
        else { return nil }
        return Int(line[range.upperBound...].prefix { $0.isNumber })
    }
}

/// A folder that is removed with its owner.
final class TemporaryFolder: Sendable {
    let path: String

    init() {
        path = "\(NSTemporaryDirectory())/affinity-\(getpid())-\(UInt64.random(in: 0 ... .max))"
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// Runs the tests of a suite against one KeyValue service.
struct KeyValueTrait: SuiteTrait, TestScoping {
    @TaskLocal static var process: KeyValueProcess?

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        let process = try KeyValueProcess()
        try await Self.$process.withValue(process) { try await function() }
        #expect(process.isRunning, "it printed \(process.printed)")
        #expect(try process.terminate() == 0)
    }
}

/// The service that the suite's tests share.
var keyValue: KeyValueProcess {
    get throws { try #require(KeyValueTrait.process) }
}
