import AffinityCore
import AffinityTestSupport
import Foundation
import Testing

/// Random schedules of nodes, producers, coordinator, log and clients over the production code of the log protocol,
/// and mistakes planted in them to show that the oracles see what goes wrong.
///
/// `PROTOCOL_SECONDS` makes them go on for so long, and plants the mistakes that are seldom seen too; `PROTOCOL_SEED`
/// runs the schedule of one seed. The order of a claimant's rewrites is that of a dictionary: the same seed does the
/// same in every process only with `SWIFT_DETERMINISTIC_HASHING=1`.
@Suite(.serialized) struct ScheduleTests {
    private static let environment = ProcessInfo.processInfo.environment
    private static let seconds = environment["PROTOCOL_SECONDS"].flatMap(Double.init)
    private static let seed = environment["PROTOCOL_SEED"].flatMap { UInt64($0) }

    /// Runs the schedules of some seeds, until one fails or the time is over.
    private func run(_ seeds: some Sequence<UInt64>, for seconds: Double) throws {
        var schedules = Schedules()
        let end = ContinuousClock.now.advanced(by: .seconds(seconds))
        for seed in seeds {
            if ContinuousClock.now >= end { break }
            guard let finding = try schedules.run(seed) else { continue }
            Issue.record("\(finding)")
            break
        }
        print("random schedules: \(schedules.tally)")
    }

    @Test func knownSchedulesKeepTheHistoryOfTheirClients() throws {
        try run(Self.seed.map { $0...$0 } ?? 1...1000, for: 2)
    }

    @Test func randomSchedulesKeepTheHistoryOfTheirClients() throws {
        if Self.seed != nil { return }
        let first = newSeed()
        try run(first...(.max - 1), for: Self.seconds ?? 2)
    }

    @Test(arguments: Mistake.allCases.filter { !$0.isSeldomSeen }) func theOraclesSee(_ mistake: Mistake) throws {
        var schedules = Schedules(mistake: mistake)
        schedules.shortens = false
        let found = try (1...300).contains { try schedules.run(UInt64($0)) != nil }
        #expect(found, "\(mistake) was not seen in \(schedules.tally.schedules) schedules")
    }

    /// These need thousands of schedules, or tens of thousands: what is not seen in the time given is only said.
    @Test(arguments: Mistake.allCases.filter(\.isSeldomSeen)) func theOraclesMaySee(_ mistake: Mistake) throws {
        guard let seconds = Self.seconds else { return }
        var schedules = Schedules(mistake: mistake)
        schedules.shortens = false
        let end = ContinuousClock.now.advanced(by: .seconds(seconds))
        var seed: UInt64 = 1
        while ContinuousClock.now < end {
            if let finding = try schedules.run(seed) { return print("\(mistake): seed \(seed): \(finding.violation)") }
            seed += 1
        }
        print("\(mistake): not seen in \(schedules.tally.schedules) schedules")
    }
}

extension Mistake {
    /// Whether a few hundred schedules are too few to see it.
    fileprivate var isSeldomSeen: Bool {
        switch self {
        case .grantTwice, .settledEarly, .openForgotten, .proofTooLate: true
        default: false
        }
    }
}
