import AffinityConfiguration
import AffinityCore
import Foundation
import Glibc
import Synchronization
import Testing

@testable import AffinityObservability

/// A pipe whose reading end the test controls.
private final class Pipe: Sendable {
    let input: Int32
    let output: Int32
    private let rest = Mutex<ArraySlice<UInt8>>([])

    init() {
        var ends: [Int32] = [0, 0]
        pipe(&ends)
        output = ends[0]
        input = ends[1]
    }

    deinit {
        close(output)
        close(input)
    }

    /// Reads that many lines.
    func lines(_ count: Int) -> [String] {
        var lines: [String] = []
        while lines.count < count, let line = line() { lines.append(line) }
        return lines
    }

    /// Reads lines, up to and with the one that `isLast`.
    func lines(through isLast: (String) -> Bool) -> [String] {
        var lines: [String] = []
        while let line = line() {
            lines.append(line)
            if isLast(line) { break }
        }
        return lines
    }

    private func line() -> String? {
        rest.withLock { rest in
            var chunk = [UInt8](repeating: 0, count: 1 << 16)
            while true {
                if let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                    defer { rest = rest[(end + 1)...] }
                    return String(decoding: rest[..<end], as: UTF8.self)
                }
                let more = read(output, &chunk, chunk.count)
                guard more > 0 else { return nil }
                rest += chunk.prefix(more)
            }
        }
    }
}

@Suite struct LogTests {
    private let pipe = Pipe()

    private func log(_ level: Report.Level = .debug, _ format: LogFormat = .json) -> Log {
        Log(LogConfiguration(level: level, format: format), to: LogWriter(fileDescriptor: pipe.input)) {
            Timestamp(milliseconds: 1_790_000_000_123)
        }
    }

    private struct Line: Decodable {
        var time: String
        var level: String
        var message: String
        var fields: [String: String]
    }

    @Test func jsonIsAnObjectALine() throws {
        let log = log()
        log.info("ready", [("node", "n1"), ("took", "12ms")])
        log.error("failed")
        #expect(log.flush())
        #expect(
            pipe.lines(2) == [
                #"{"time":"2026-09-21T14:13:20.123Z","level":"info","message":"ready","fields":{"node":"n1","took":"12ms"}}"#,
                #"{"time":"2026-09-21T14:13:20.123Z","level":"error","message":"failed","fields":{}}"#,
            ])
    }

    @Test func jsonSurvivesEveryCharacter() throws {
        var scalars = (0..<0x2100).compactMap(Unicode.Scalar.init).map(Character.init)
        scalars += ["\u{1F600}", "\u{FFFF}", "\u{10FFFF}", "\\", "\""]
        for start in stride(from: 0, to: scalars.count, by: 512) {
            let text = String(scalars[start..<min(scalars.count, start + 512)])
            let line = LogLine.format(
                Report(.info, text, [(text, text), ("a", "1"), ("a", "2")]), at: Timestamp(milliseconds: 0),
                asJSON: true)
            let decoded = try JSONDecoder().decode(Line.self, from: Data(line.utf8))
            #expect(decoded.message == text)
            #expect(decoded.fields[text] == text)
            #expect(decoded.fields["a'"] == "2")
            #expect(!line.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F || $0 == "\u{2028}" })
        }
    }

    @Test func textIsForPeople() {
        let log = log(.info, .text)
        log.warning("slow \u{1B}[31m", [("key", "a b"), ("plain", "x/1"), ("empty", ""), ("lines", "1\n2\"")])
        log.info("fine")
        log.flush()
        #expect(
            pipe.lines(2) == [
                #"2026-09-21T14:13:20.123Z WARNING slow \u001b[31m key="a b" plain=x/1 empty="" lines="1\n2\"""#,
                "2026-09-21T14:13:20.123Z INFO    fine",
            ])
    }

    @Test func longLinesAreCut() {
        let line = LogLine.format(
            Report(
                .info, String(repeating: "é", count: 100_000),
                (0..<1_000).map { ("field\($0)", String(repeating: "x", count: 100)) }),
            at: Timestamp(milliseconds: 0), asJSON: true)
        #expect(line.utf8.count < 20_000)
        #expect(line.contains("é…"))
        #expect(line.contains("field63") && !line.contains("field64"))
    }

    @Test func whatIsNotWrittenIsNotMade() {
        let log = log(.warning)
        func never() -> String {
            Issue.record("made")
            return ""
        }
        log.debug(never(), [("a", never())])
        log.info(never())
        log.reporter(Report(.info, "hidden"))
        log.reporter(Report(.warning, "shown", [("a", "b")]))
        #expect(!log.isEnabled(.info) && log.isEnabled(.warning) && log.isEnabled(.error))
        #expect(log.flush())
        let lines = pipe.lines(1)
        #expect(lines.count == 1 && lines[0].contains("shown"))
    }

    @Test func aBlockedReaderBlocksNobodyAndIsToldWhatItMissed() async throws {
        let writer = LogWriter(fileDescriptor: pipe.input)
        let log = Log(LogConfiguration(level: .info, format: .json), to: writer)
        let text = String(repeating: "x", count: 1_000)
        let count = 40_000
        // Nobody reads: the pipe and the queue fill up, and this loop ends all the same.
        for _ in 0..<count { log.info(text) }
        #expect(!log.flush(within: .milliseconds(60)))
        #expect(writer.dropped > 0)
        // Now somebody reads, up to the last line.
        let pipe = pipe
        // On a thread of its own: the flush below blocks one of the pool's, other tests may have the rest.
        let (read, reader) = AsyncStream<[String]>.makeStream()
        Thread.detachNewThread {
            reader.yield(pipe.lines { $0.contains("after") })
            reader.finish()
        }
        #expect(log.flush(within: .seconds(60)))
        log.info("after")
        let lines = await read.first { _ in true } ?? []
        let missed = try lines.filter { $0.contains("log lines were dropped") }.reduce(0) {
            let fields = try JSONDecoder().decode(Line.self, from: Data($1.utf8)).fields
            return $0 + (Int(fields["dropped"] ?? "") ?? 0)
        }
        #expect(UInt64(missed) == writer.dropped)
        #expect(lines.count(where: { $0.contains(text) }) + missed == count)
        #expect(lines.last?.contains("after") == true)
    }

    // Fewer bytes than a pipe holds: what nobody reads within a second is given up at exit.
    @Test func theEndOfTheProcessLosesNothing() async throws {
        let result = try await #require(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let log = Log(LogConfiguration(level: .info, format: .json))
            for number in 0..<500 { log.info("line", [("number", "\(number)")]) }
            exit(0)
        }
        let text = String(decoding: result.standardErrorContent, as: UTF8.self)
        #expect(text.contains(#"{"number":"499"}"#))
        #expect(text.split(separator: "\n").count(where: { $0.contains(#""message":"line""#) }) == 500)
    }

    @Test func aReaderThatIsGoneHarmsNobody() {
        var ends: [Int32] = [0, 0]
        Glibc.pipe(&ends)
        close(ends[0])
        let writer = LogWriter(fileDescriptor: ends[1])
        let log = Log(LogConfiguration(), to: writer)
        for _ in 0..<10 { log.error("lost") }
        #expect(log.flush(within: .seconds(10)))
        #expect(writer.dropped == 10)
        close(ends[1])
    }

    @Test func linesOfManyThreadsStayWhole() async {
        let log = log()
        let pipe = pipe
        async let lines = Task.detached { pipe.lines(8 * 500) }.value
        await withDiscardingTaskGroup { group in
            for thread in 0..<8 {
                group.addTask { for number in 0..<500 { log.info("line", [("id", "\(thread).\(number)")]) } }
            }
        }
        #expect(log.flush(within: .seconds(30)))
        let ids = await lines.compactMap { try? JSONDecoder().decode(Line.self, from: Data($0.utf8)).fields["id"] }
        #expect(Set(ids).count == 4_000)
        for thread in 0..<8 {
            let own = ids.filter { $0.hasPrefix("\(thread).") }
            #expect(own == (0..<500).map { "\(thread).\($0)" })
        }
    }

    @Test func momentsAreWrittenByTheCalendar() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"), (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (Int64.max, "9999-12-31T23:59:59.999Z"), (Int64.min, "0000-01-01T00:00:00.000Z"),
        ] as [(Int64, String)] {
            #expect(RFC3339.text(Timestamp(milliseconds: milliseconds)) == text)
        }
    }

    @Test func levelAndFormatAreConfigured() throws {
        let configuration = Configuration.load(yaml: "log: { level: debug, format: text }")
        let values = LogConfiguration(configuration.reader)
        try configuration.validate()
        #expect(values.level == .debug)
        #expect(values.format == .text)
        let defaults = LogConfiguration(Configuration().reader)
        #expect(defaults.level == .info)
        #expect(defaults.format == .auto)
        #expect(log(.info, .auto).isJSON)
    }
}
