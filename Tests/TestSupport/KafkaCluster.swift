import Foundation
import Glibc
import Synchronization

/// Real Kafka brokers for a test, on free ports of the loopback. They end with the value, or with the test process.
package final class KafkaCluster: Sendable {
    /// Where the brokers are reached: `127.0.0.1:port`, joined by commas.
    package let brokers: String
    /// Where the first broker is reached with the secured protocol, if there is one.
    package let securedBroker: String
    private let folder: String

    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../scripts/kafka").standardizedFileURL.path

    /// Whether librdkafka can run here: the thread sanitizer crashes in the threads that C11's `thrd_create` starts.
    package static let hasClients = dlsym(nil, "__tsan_init") == nil

    /// Whether brokers can be started here; tests that need one are skipped where not.
    package static let isAvailable: Bool = {
        guard hasClients else { return false }
        let check = Result { try run(["check"]) }
        if case .failure = check { print("kafka: tests that need a broker are skipped; scripts/kafka check says why") }
        return (try? check.get()) != nil
    }()

    /// One broker that all tests of the process share; it compacts whenever it can.
    package static let shared = Result {
        try KafkaCluster(properties: [
            "log.cleaner.backoff.ms": "100", "log.cleaner.min.cleanable.ratio": "0.0",
            "log.cleaner.dedupe.buffer.size": "4194304", "log.cleaner.threads": "1",
            "log.initial.task.delay.ms": "100", "log.segment.delete.delay.ms": "0", "log.roll.ms": "200",
        ])
    }

    /// Starts brokers and returns when they answer.
    ///
    /// - Parameters:
    ///   - port: of the first broker; 0 for free ones.
    ///   - protocol: what a further listener of each takes: `SASL_SSL`.
    ///   - properties: what is added to the configuration of each.
    ///   - credentials: whom they know from the start: `SCRAM-SHA-256=[name=me,password=secret]`.
    package init(
        brokers count: Int = 1, port: Int = 0, securedWith protocol: String? = nil, properties: [String: String] = [:],
        credentials: [String] = []
    ) throws {
        // No `TemporaryFolder`: the brokers may live longer than this value would.
        folder = NSTemporaryDirectory() + "affinity-kafka-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let lines = properties.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\n" }.joined()
        try lines.write(toFile: folder + "/extra.properties", atomically: true, encoding: .utf8)
        let known = credentials.map { $0 + "\n" }.joined()
        try known.write(toFile: folder + "/scram", atomically: true, encoding: .utf8)
        let arguments =
            ["start", folder, "--brokers", "\(count)", "--port", "\(port)", "--until", "\(getpid())"]
            + (`protocol`.map { ["--secured", $0] } ?? [])
        let output = try Self.run(arguments)
        guard let last = output.split(separator: "\n").last else { throw Failure("scripts/kafka says nothing") }
        brokers = String(last)
        let port = brokers.split(separator: ",").first?.split(separator: ":").last.flatMap { Int($0) } ?? 0
        securedBroker = "127.0.0.1:\(port + 2)"
    }

    deinit { stop() }

    /// Ends the brokers; does nothing if they have ended.
    package func stop() {
        _ = try? Self.run(["stop", folder])
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// Ends broker `number`, from 1 on, without warning.
    package func kill(_ number: Int) throws { try end(number, SIGKILL) }

    /// Ends broker `number` as an operator does: it hands over what it leads, as far as others can take it.
    package func stop(_ number: Int) throws { try end(number, SIGTERM) }

    private func end(_ number: Int, _ signal: Int32) throws {
        let pid = try self.signal(number, signal)
        try waitUntil("the end of broker \(number)") { Glibc.kill(pid, 0) != 0 }
    }

    /// Starts broker `number` again after it was killed.
    package func start(_ number: Int) throws { _ = try Self.run(["broker", folder, "\(number)"]) }

    /// Lets broker `number` do nothing for a while.
    package func pause(_ number: Int) throws { try pauseProcess(try signal(number, SIGSTOP)) }

    /// Lets a broker that was paused go on.
    package func resume(_ number: Int) throws { try signal(number, SIGCONT) }

    @discardableResult
    private func signal(_ number: Int, _ signal: Int32) throws -> pid_t {
        guard let pid = pid_t(try text("\(number)/pid")) else { throw Failure("no pid of broker \(number)") }
        // The script starts each broker as a group of its own.
        Glibc.kill(-pid, signal)
        return pid
    }

    private func text(_ file: String) throws -> String {
        try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @discardableResult
    private static func run(_ arguments: [String]) throws -> String {
        let child = try Child(script, arguments)
        guard try child.waitForExit(within: 120) == 0 else {
            throw Failure("scripts/kafka \(arguments.joined(separator: " ")): \(child.text)")
        }
        return child.text
    }
}
