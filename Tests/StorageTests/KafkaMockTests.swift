import AffinityCore
import AffinityTestSupport
import AffinityTesting
import CRdKafka
import Testing

@testable import AffinityKafka

/// What brokers answer when something is wrong with them, one error at a time: real ones cannot be told to.
@Suite(.enabled(if: KafkaCluster.hasClients, "librdkafka does not run under the thread sanitizer"))
struct KafkaMockTests {
    let fixture: LogFixture
    let mock: MockBrokers
    let topic: String

    init() throws {
        fixture = try LogFixture(.kafka)
        mock = try MockBrokers(3)
        topic = "\(fixture.system).accounts.balances"
        for changelog in changelogs {
            try mock.make("\(fixture.system).accounts.\(changelog.name)", partitions: 4)
        }
        for changelog in changelogs { try mock.lead("\(fixture.system).accounts.\(changelog.name)", 3, by: 1) }
    }

    /// A log whose librdkafka tells of every error that it gets.
    private func log() async throws -> KafkaLog {
        var configuration = fixture.kafkaConfiguration
        configuration.brokers = mock.brokers
        configuration.properties = [
            "debug": "msg,eos,topic,fetch", "max.in.flight.requests.per.connection": "1",
            // Seconds of waiting otherwise.
            "retry.backoff.ms": "10", "fetch.error.backoff.ms": "20", "topic.metadata.refresh.fast.interval.ms": "20",
        ]
        return try await KafkaLog.open(
            configuration, clock: ManualClock(), pool: pool, report: fixture.reports.reporter)
    }

    /// A use of the changelogs. The brokers here cannot say how their topics are made, which opening asks them first.
    private func use(_ log: KafkaLog) async throws -> (KafkaPartitionLog, Acks) {
        let acks = Acks()
        let places = changelogs.map {
            KafkaPlace(topic: "\(fixture.system).accounts.\($0.name)", partition: Int32(partition.number))
        }
        let gate = AckGate(executor: fixture.executor) { acks.take($0) }
        return (try await log.use(partition, places, try await log.currentSender(), gate), acks)
    }

    /// Whether librdkafka has told of an error of the brokers.
    private func wasTold(of error: rd_kafka_resp_err_t) -> Bool {
        let text = String(cString: rd_kafka_err2str(error))
        return fixture.reports.texts.contains { $0.contains(text) }
    }

    /// That `count` records, to both changelogs in turn, were acknowledged in order, and stand there in order, once.
    private func checkWritten(_ count: Int, _ use: KafkaPartitionLog, _ acks: Acks) async throws {
        #expect(acks.all.count == count)
        for ack in acks.all { if case .failure(let error) = ack.result { throw error } }
        for changelog in 0..<2 {
            let numbers = (0..<count).filter { $0 % 2 == changelog }
            #expect(acks.texts.filter { $0.hasPrefix("\(changelog)") } == numbers.indices.map { "\(changelog):\($0)" })
            #expect(try await use.keys(changelog) == numbers.enumerated().map { "k\($0.element)@\($0.offset)" })
        }
    }

    private func write(_ numbers: Range<Int>, _ use: KafkaPartitionLog) {
        for number in numbers { use.append(number % 2, record("k\(number)", "v")) }
    }

    // MARK: - Writing

    @Test(arguments: [
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__TRANSPORT,
    ])
    func whatPassesNeitherLosesNorSwapsNorRepeats(_ error: rd_kafka_resp_err_t) throws {
        try fixture.run {
            let log = try await log()
            let (opened, acks) = try await use(log)
            write(0..<100, opened)
            await acks.wait(for: 100)
            for round in 1...3 {
                mock.refuse(.produce, with: Array(repeating: error, count: round))
                write(round * 100..<round * 100 + 100, opened)
                await acks.wait(for: round * 100 + 100)
            }
            #expect(wasTold(of: error))
            try await checkWritten(400, opened, acks)
            await log.close()
        }
    }

    @Test func recordsFollowTheirLeader() throws {
        try fixture.run {
            let log = try await log()
            let (opened, acks) = try await use(log)
            var count = 0
            // Each time while records are on their way; once nobody leads for a while.
            for leader in [2, 3, 0, 1, 2] {
                write(count..<count + 100, opened)
                count += 100
                for changelog in changelogs {
                    try mock.lead("\(fixture.system).accounts.\(changelog.name)", 3, by: leader)
                }
                if leader > 0 { await acks.wait(for: count) }
            }
            #expect(wasTold(of: RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION))
            try await checkWritten(500, opened, acks)
            await log.close()
        }
    }

    @Test func brokersThatAreAwayKeepRecordsWaiting() throws {
        try fixture.run {
            let log = try await log()
            let (opened, acks) = try await use(log)
            write(0..<100, opened)
            await acks.wait(for: 100)
            try mock.goDown()
            write(100..<200, opened)
            try await fixture.waitUntil("a connection that is refused") {
                fixture.reports.texts.contains { $0.contains("Connection refused") }
            }
            #expect(acks.all.count == 100)
            try mock.comeUp()
            await acks.wait(for: 200)
            try await checkWritten(200, opened, acks)
            await log.close()
        }
    }

    @Test(arguments: [
        (RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "io"), (RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, "io"),
        (RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, "io"), (RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "io"),
        (RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, "io"),
        (RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, "tooLarge"), (RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "tooLarge"),
    ])
    func whatDoesNotPassEndsTheUseAndTheNextOneWrites(_ error: rd_kafka_resp_err_t, _ code: String) throws {
        try fixture.run {
            let log = try await log()
            let (opened, acks) = try await use(log)
            write(0..<2, opened)
            await acks.wait(for: 2)
            mock.refuse(.produce, with: [error])
            opened.append(0, record("refused", "v"))
            await acks.wait(for: 3)
            #expect(acks.texts.last == "0:\(code)")
            // Whatever comes behind it fails too, in both changelogs: the state would have a hole.
            write(2..<10, opened)
            await acks.wait(for: 11)
            #expect(acks.all.dropFirst(2).allSatisfy { if case .failure = $0.result { true } else { false } })
            let (second, more) = try await use(log)
            #expect(try await second.keys(0) == ["k0@0"])
            second.append(0, record("again", "v"))
            await more.wait(for: 1)
            #expect(more.texts == ["0:1"])
            #expect(try await second.keys(0) == ["k0@0", "again@1"])
            #expect(fixture.reports.messages.contains("the Kafka producer has failed and is replaced"))
            await log.close()
        }
    }

    /// Brokers check what arrives; a later librdkafka than that of Debian 12 tries again by itself.
    @Test func aRecordThatIsDamagedOnItsWayMayBeTriedAgain() throws {
        try fixture.run {
            let log = try await log()
            let (opened, acks) = try await use(log)
            mock.refuse(.produce, with: [RD_KAFKA_RESP_ERR_INVALID_MSG])
            opened.append(0, record("a", "v"))
            await acks.wait(for: 1)
            #expect(["0:0", "0:io"].contains(acks.texts[0]), "the log itself is not damaged")
            #expect(wasTold(of: RD_KAFKA_RESP_ERR_INVALID_MSG))
            let (second, more) = try await use(log)
            second.append(1, record("b", "v"))
            await more.wait(for: 1)
            #expect(more.texts == ["1:0"])
            await log.close()
        }
    }

    /// A broker has had the record before and does not know any more where; nobody else does.
    @Test func aRecordWithoutAPlaceEndsTheUse() throws {
        try fixture.run {
            let log = try await log()
            let (opened, acks) = try await use(log)
            mock.refuse(.produce, with: [RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER])
            opened.append(0, record("a", "v"))
            opened.append(1, record("b", "v"))
            await acks.wait(for: 2)
            #expect(acks.texts.filter { $0.hasSuffix("io") }.count >= 1)
            opened.append(0, record("c", "v"))
            await acks.wait(for: 3)
            #expect(acks.texts.last == "0:io")
            let (second, more) = try await use(log)
            second.append(0, record("d", "v"))
            await more.wait(for: 1)
            guard case .success = more.all[0].result else { throw Failure("\(more.texts)") }
            await log.close()
        }
    }

    /// Brokers that have just started do not give out producers' numbers.
    @Test func aProducerWaitsForItsNumber() throws {
        try fixture.run {
            mock.refuse(
                .initProducerID,
                with: [
                    RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
                    RD_KAFKA_RESP_ERR__TRANSPORT,
                ])
            let log = try await log()
            let (opened, acks) = try await use(log)
            write(0..<10, opened)
            await acks.wait(for: 10)
            try await checkWritten(10, opened, acks)
            await log.close()
        }
    }

    // MARK: - Looking up ends

    @Test(arguments: [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE, RD_KAFKA_RESP_ERR__TRANSPORT,
    ])
    func endsAreFoundAfterErrors(_ error: rd_kafka_resp_err_t) throws {
        try fixture.run { [topic] in
            let log = try await log()
            let (opened, acks) = try await use(log)
            write(0..<100, opened)
            await acks.wait(for: 100)
            mock.refuse(.listOffsets, with: Array(repeating: error, count: 6))
            // Somebody who asks hears of an error that passes, or of the ends.
            try await fixture.waitUntil("the bounds") {
                do {
                    return try await opened.bounds(0) == .zero..<Offset(50)
                } catch let failure as LogError {
                    #expect(failure.isRetriable, "\(failure)")
                    return false
                }
            }
            // And the look-ups go on: what somebody else writes is seen.
            mock.refuse(.listOffsets, with: Array(repeating: error, count: 6))
            try OutsideProducer(brokers: mock.brokers).write(topic, 3, "other", "v")
            try await opened.waitForRecords(0, beyond: Offset(50))
            #expect(wasTold(of: error))
            #expect(try await opened.keys(0).last == "other@50")
            await log.close()
        }
    }

    // MARK: - Reading

    @Test(arguments: [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
        RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, RD_KAFKA_RESP_ERR__TRANSPORT,
    ])
    func readingGoesOnAfterErrors(_ error: rd_kafka_resp_err_t) throws {
        try fixture.run {
            let log = try await log()
            let (opened, acks) = try await use(log)
            write(0..<200, opened)
            await acks.wait(for: 200)
            mock.refuse(.fetch, with: [error, error])
            var keys: [String] = []
            var next = Offset.zero
            try await fixture.waitUntil("all records") {
                do {
                    let page = try await opened.read(0, from: next, maxBytes: 100)
                    keys += page.records.map { String(decoding: $0.record.key, as: UTF8.self) }
                    next = page.next
                } catch let failure as LogError {
                    // What passes is nothing to the reader; of the rest he hears, and reads again.
                    #expect(failure.isRetriable, "\(failure)")
                }
                return next == Offset(100)
            }
            #expect(wasTold(of: error))
            #expect(keys == (0..<100).map { "k\(2 * $0)" })
            await log.close()
        }
    }
}
