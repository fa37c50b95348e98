import AffinityTestSupport
import Foundation
import Testing

extension Faults {
    /// The same faults, and others, with the log in Kafka: real brokers, which one suite shares.
    @Suite(.serialized, .enabled(if: KafkaCluster.isAvailable, "no Kafka: see scripts/kafka check"))
    enum Kafka {
        /// More rounds for longer runs.
        static func rounds(_ few: Int) -> Int {
            ProcessInfo.processInfo.environment["FAULT_ROUNDS"].flatMap { Int($0) } ?? few
        }
    }
}

extension Faults.Kafka {
    /// One broker, for everything that needs no other.
    @Suite(.serialized, .brokers(1)) enum OneBroker {}

    /// Three, with every record on two of them at least before it is acknowledged.
    @Suite(.serialized, .brokers(3)) enum ThreeBrokers {}
}

/// Runs the tests of a suite against brokers of its own.
struct Brokers: SuiteTrait, TestScoping {
    @TaskLocal static var cluster: KafkaCluster?
    var count: Int
    var properties: [String: String]

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        let (count, properties) = (count, properties)
        let cluster = try await onThread { try KafkaCluster(brokers: count, properties: properties) }
        let result: Result<Void, any Error>
        do {
            result = .success(try await Self.$cluster.withValue(cluster) { try await function() })
        } catch {
            result = .failure(error)
        }
        // Nobody needs what they would put in order.
        try await onThread {
            for number in 1...count { try? cluster.kill(number) }
            cluster.stop()
        }
        try result.get()
    }
}

extension Trait where Self == Brokers {
    /// - Parameter properties: what is added to what every broker is configured with here.
    static func brokers(_ count: Int, _ properties: [String: String] = [:]) -> Brokers {
        let common = [
            "log.cleaner.backoff.ms": "100", "log.cleaner.dedupe.buffer.size": "4194304", "log.cleaner.threads": "1",
            "log.initial.task.delay.ms": "100", "log.segment.delete.delay.ms": "0",
            // Test logs are small; a segment takes its index files' size when it is made.
            "log.index.size.max.bytes": "65536",
            // So long a killed broker counts as alive: others do not lead before, and itself cannot come back.
            "broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "500",
        ]
        return Brokers(count: count, properties: common.merging(properties) { $1 })
    }
}

/// The brokers that the suite's tests share.
var brokers: KafkaCluster {
    get throws { try #require(Brokers.cluster) }
}
