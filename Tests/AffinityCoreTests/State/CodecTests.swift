import AffinityTestSupport
import AffinityTesting
import Testing

@testable import AffinityCore

/// What is written comes back; what is damaged is refused and never traps.
@Suite struct CodecTests {
    private func headers(_ seed: UInt64) -> RecordHeaders {
        let random = SeededRandom(seed)
        return RecordHeaders(
            stamp: RecordStamp(
                epoch: Epoch(rawValue: random.next()), number: random.next(),
                count: UInt32(truncatingIfNeeded: random.next()), acknowledged: random.next()),
            time: Timestamp(milliseconds: Int64(bitPattern: random.next())),
            tags: (0..<Int(random.next() % 4)).map { "tag ü \($0)" }, traceparent: "00-ab-cd-01")
    }

    private func list(_ headers: RecordHeaders) -> [(name: String, bytes: [UInt8])] {
        var list: [(name: String, bytes: [UInt8])] = []
        headers.forEach { name, value in list.append((name: "\(name)", bytes: value.withUnsafeBytes { [UInt8]($0) })) }
        return list
    }

    @Test(arguments: 0..<20 as Range<UInt64>) func headersComeBack(_ seed: UInt64) throws {
        let headers = headers(seed)
        var read = RecordHeaders()
        for (name, bytes) in list(headers) { try read.take(name, bytes) }
        try read.take("somebody-else", [1, 2, 3])
        #expect(read == headers, "seed \(seed)")
    }

    @Test func theStampHasItsLayout() {
        let stamp = RecordStamp(epoch: Epoch(grant: 1, run: 2), number: 3, count: 4, acknowledged: 5)
        #expect(
            list(RecordHeaders(stamp: stamp))[0].bytes == [
                1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 5,
            ])
        #expect(list(RecordHeaders()).isEmpty)
    }

    @Test func damagedHeadersAreRefused() {
        let stamp = list(headers(1))[0].bytes
        for damaged in [[], Array(stamp.dropLast()), stamp + [0], [9] + stamp.dropFirst()] {
            var read = RecordHeaders()
            #expect(throws: LogError.self) { try read.take("affinity", damaged) }
        }
        var read = RecordHeaders()
        #expect(throws: LogError.self) { try read.take("t", [1]) }
    }

    private let checkpoint = {
        var place = Checkpoint.Place(changelog: "a", next: Offset(5))
        (place.last, place.fingerprint, place.covered) = (Offset(4), 6, Offset(3))
        place.doubtful = [[1, 2]: Timestamp(milliseconds: 7), []: Timestamp(milliseconds: .min)]
        var checkpoint = Checkpoint(
            log: 1, epoch: Epoch(grant: 2, run: 3), level: Timestamp(milliseconds: -4),
            places: [place, .init(changelog: "ü", next: .zero)])
        (checkpoint.isOpen, checkpoint.number, checkpoint.acknowledged) = (true, 8, .max)
        return checkpoint
    }()

    @Test func checkpointsComeBack() {
        #expect(Checkpoint(bytes: checkpoint.bytes) == checkpoint)
        for length in 0..<checkpoint.bytes.count {
            #expect(Checkpoint(bytes: Array(checkpoint.bytes.prefix(length))) == nil)
        }
        #expect(Checkpoint(bytes: checkpoint.bytes + [0]) == nil)
    }

    @Test(arguments: [1, 2, newSeed()])
    func randomBytesNeverTrap(_ seed: UInt64) {
        let random = SeededRandom(seed)
        for _ in 0..<2000 {
            var bytes = checkpoint.bytes
            for _ in 0...random.next() % 4 {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            _ = Checkpoint(bytes: bytes)
            let noise = (0..<random.next() % 80).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            _ = Checkpoint(bytes: [1] + noise)
            _ = AnsweredRequests.Outcome(bytes: [1] + noise)
            _ = ControlRecord(bytes: noise)
        }
    }

    @Test func controlRecordsAreJSON() {
        let record = ControlRecord(.settled, log: 255, node: NodeID("n\"1"))
        #expect(String(decoding: record.bytes, as: UTF8.self) == #"{"kind":"settled","log":"ff","node":"n\"1"}"#)
        #expect(ControlRecord(bytes: record.bytes) == record)
        #expect(record.logNumber == 255)
    }

    @Test func serdesComeBackAndRefuse() throws {
        #expect(try IntegerSerde<Int32>().decode(IntegerSerde<Int32>().encode(-2)) == -2)
        #expect(throws: SerdeError.self) { try IntegerSerde<Int>().decode([1]) }
        #expect(throws: SerdeError.self) { try StringSerde().decode([0xFF]) }
        #expect(throws: SerdeError.self) { try TextSerde<Int>().decode(Array("x".utf8)) }
        #expect(throws: SerdeError.self) { try JSONSerde<Int>().decode(Array("{".utf8)) }
        #expect(throws: SerdeError.self) { try JSONSerde<Double>().encode(.nan) }
        #expect(try JSONSerde<[String: Int]>().encode(["b": 1, "a": 2]) == Array(#"{"a":2,"b":1}"#.utf8))
    }

    @Test func positionsFromOutside() throws {
        #expect(Position("1.2")?.offsets == [Offset(1), Offset(2)])
        for text in ["", ".", "1.", "-1", "+1", "9223372036854775808", "a"] { #expect(Position(text) == nil) }
        let end = Position([Offset(.max), Offset(.max)])
        #expect(Position([.zero, .zero]).lag(behind: end) == .max)
        #expect(Position([Offset(.min)]).lag(behind: end) == .max)
        #expect(end.lag(behind: Position([.zero])) == 0)
        #expect(end.covers(Position([])) && !Position([]).covers(end))
    }
}
