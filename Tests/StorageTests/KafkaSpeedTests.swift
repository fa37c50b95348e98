import AffinityCore
import AffinityTestSupport
import Foundation
import Testing

@testable import AffinityKafka

/// Figures, for whoever asks for them: `KAFKA_SPEED=1000000 scripts/test --filter KafkaSpeedTests`.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["KAFKA_SPEED"] != nil, "measures only if KAFKA_SPEED is set"))
struct KafkaSpeedTests {
    @Test func writesAndReads() throws {
        let fixture = try LogFixture(.kafka)
        try fixture.run {
            let total = Int(ProcessInfo.processInfo.environment["KAFKA_SPEED"] ?? "") ?? 100_000
            let log = try await fixture.kafka()
            let (opened, acks) = try await fixture.open(log)
            var start = ContinuousClock.now
            var written = 0
            while written < total {
                for _ in 0..<1000 {
                    opened.append(0, record("key\(written)", String(repeating: "v", count: 90)))
                    written += 1
                }
                // No more than a few thousand in flight, as a partition would have.
                await acks.wait(for: written - 3000)
            }
            await acks.wait(for: total)
            report("written", total, ContinuousClock.now - start)
            for round in 0..<3 {
                start = .now
                var (next, count) = (Offset.zero, 0)
                while count < total {
                    let page = try await opened.read(0, from: next, maxBytes: 1 << 20)
                    next = page.next
                    count += page.records.count
                }
                report("read, round \(round)", total, ContinuousClock.now - start)
            }
            await log.close()
        }
    }

    private func report(_ what: String, _ count: Int, _ time: Duration) {
        let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
        print("\(what): \(Int(Double(count) / seconds)) records/s")
    }
}
