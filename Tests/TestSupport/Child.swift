import Foundation
import Glibc
import Synchronization

/// A program that a test has started; its output is read line by line. Ends with the value, at the latest.
package final class Child: Sendable {
    package let pid: Int32
    private let state = Mutex(State())
    private let changed = NSCondition()

    private struct State {
        var lines: [Line] = []
        /// The exit code, or 128 and the signal.
        var exit: Int32?
    }

    /// A line of the output; the parts of a log line are empty for any other text.
    package struct Line: Sendable {
        package var text: String
        package var level = ""
        package var message = ""
        package var fields: [String: String] = [:]

        init(_ text: String) {
            struct Parts: Decodable { let level, message: String, fields: [String: String] }
            self.text = text
            guard let parts = try? JSONDecoder().decode(Parts.self, from: Data(text.utf8)) else { return }
            (level, message, fields) = (parts.level, parts.message, parts.fields)
        }
    }

    /// Starts `program`. Only what is in `environment` is added to the environment of the test.
    package init(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], folder: String? = nil
    ) throws {
        var ends: [Int32] = [-1, -1]
        // Not a pipe, because nothing else can be made close-on-exec in one step: other tests start programs too.
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw Failure("socketpair: \(errno)") }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        // The handler of the test process is not the child's.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        let variables = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("AFFINITY_") }
            .merging(environment) { $1 }.map { strdup("\($0.key)=\($0.value)") }
        let command = (folder.map { ["/usr/bin/env", "-C", $0] } ?? []) + [program] + arguments
        let words = command.map { strdup($0) }
        defer { for text in variables + words { free(text) } }
        var pid = pid_t()
        let error = posix_spawn(&pid, command[0], &actions, &attributes, words + [nil], variables + [nil])
        close(ends[1])
        guard error == 0 else {
            close(ends[0])
            throw Failure("\(program) cannot be started: \(String(cString: strerror(error)))")
        }
        self.pid = pid
        let output = ends[0]
        // Holds the value until the program has ended; `deinit` of whoever started it ends the program.
        Thread.detachNewThread { self.follow(output) }
    }

    private func follow(_ output: Int32) {
        var rest: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while case let count = read(output, &buffer, buffer.count), count > 0 || (count < 0 && errno == EINTR) {
            rest += buffer.prefix(max(0, count))
            var lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            rest = lines.popLast().map(Array.init) ?? []
            if !lines.isEmpty { add(lines) }
        }
        close(output)
        if !rest.isEmpty { add([rest[...]]) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7F
        update { $0.exit = signal == 0 ? (status >> 8) & 0xFF : 128 + signal }
    }

    private func add(_ lines: [ArraySlice<UInt8>]) {
        let lines = lines.map { Line(String(decoding: $0, as: UTF8.self)) }
        update { $0.lines += lines }
    }

    private func update(_ body: (inout State) -> Void) {
        state.withLock { body(&$0) }
        changed.lock()
        changed.broadcast()
        changed.unlock()
    }

    // MARK: - Output and end

    /// Everything that it has said so far.
    package var lines: [Line] { state.withLock { $0.lines } }
    package var text: String { lines.map(\.text).joined(separator: "\n") }
    package var exit: Int32? { state.withLock { $0.exit } }
    /// Whether it runs; false also when it has ended this very moment.
    package var isRunning: Bool {
        var facts = siginfo_t()
        guard exit == nil, waitid(P_PID, id_t(pid), &facts, WEXITED | WNOHANG | WNOWAIT) == 0 else { return false }
        return facts.si_signo == 0
    }

    /// The first line that `isWanted`; fails if the program ends without it, or after a time beyond all reason.
    @discardableResult
    package func line(within seconds: Double = 60, where isWanted: (Line) -> Bool) throws -> Line {
        var found: Line?
        try wait(within: seconds) { state in
            found = state.lines.first(where: isWanted)
            if found == nil, let exit = state.exit { throw Failure("ended with \(exit) instead:\n\(text(state))") }
            return found != nil
        }
        guard let found else { throw Failure("no line") }
        return found
    }

    /// The exit code, or 128 and the signal.
    package func waitForExit(within seconds: Double = 60) throws -> Int32 {
        try wait(within: seconds) { $0.exit != nil }
        return exit ?? -1
    }

    private func wait(within seconds: Double, until isSo: (State) throws -> Bool) throws {
        let limit = Date(timeIntervalSinceNow: seconds)
        changed.lock()
        defer { changed.unlock() }
        while !(try state.withLock { try isSo($0) }) {
            guard changed.wait(until: limit) else {
                // The test is over; the program must not outlive it.
                send(SIGKILL)
                throw Failure("not within \(seconds) s:\n\(text)")
            }
        }
    }

    private func text(_ state: State) -> String { state.lines.map(\.text).joined(separator: "\n") }

    /// Sends a signal, unless the program has ended.
    package func send(_ signal: Int32) {
        if exit == nil { kill(pid, signal) }
    }

    /// Ends it without warning, and returns when it has ended.
    package func killNow() throws {
        send(SIGKILL)
        _ = try waitForExit()
    }
}
