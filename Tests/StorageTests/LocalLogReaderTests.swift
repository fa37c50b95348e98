import AffinityCore
import AffinityLocalLog
import AffinityTestSupport
import Foundation
import Testing

/// Reading the embedded log from outside.
@Suite struct LocalLogReaderTests {
    let fixture: LogFixture

    init() throws { fixture = try LogFixture(.local) }

    private func read(_ folder: String) throws -> [LoggedRecord] {
        let reader = try LocalLogReader(folder: folder)
        let changelog = try #require(try reader.changelogs().first)
        var (records, next) = ([LoggedRecord](), changelog.bounds.lowerBound)
        while next < changelog.bounds.upperBound {
            let page = try reader.read(changelog, from: next, maxBytes: 1000)
            records += page.records
            next = page.next
        }
        return records
    }

    @Test func whileItIsWrittenFlushedAndCompactedEveryLookIsAWholeBeginning() throws {
        let fixture = fixture
        try fixture.run {
            var configuration = fixture.configuration
            configuration.compactionLag = .zero
            // So that files come and go all the time.
            configuration.writeBufferBytes = 64 << 10
            configuration.maxWALBytes = 64 << 10
            let log = try await LocalLog.open(
                folder: fixture.folder.path + "/log", configuration: configuration, shared: shared,
                clock: fixture.clock, pool: pool, report: fixture.reports.reporter)
            let (opened, acks) = try await fixture.open(log)
            let value = String(repeating: "v", count: 1000)
            var last = Offset.zero
            for round in 1...40 {
                for number in 0..<50 { opened.append(0, record("k\(number % 10)", "\(round)-\(number)-\(value)")) }
                await acks.wait(for: round * 50)
                if round % 10 == 0 { try await log.compact() }
                let records = try read(log.folder)
                #expect(zip(records, records.dropFirst()).allSatisfy { $0.offset < $1.offset })
                let end = try #require(records.last?.offset.next)
                #expect(end == opened.end(0), "what was acknowledged is there, and nothing else")
                #expect(end > last)
                last = end
            }
            await log.close()
            #expect(try read(log.folder).last?.offset.next == last)
        }
        #expect(Set(fixture.reports.messages) == ["a changelog was compacted"], "the log was none the worse for it")
    }
}
