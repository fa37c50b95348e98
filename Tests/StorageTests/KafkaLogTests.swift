import AffinityCore
import AffinityTestSupport
import AffinityTesting
import CRdKafka
import Foundation
import Testing

@testable import AffinityKafka

/// What only a log in Kafka can meet: other writers, transactions, a full queue, failed producers, foreign topics.
@Suite(.enabled(if: KafkaCluster.isAvailable, "needs Kafka and Java; scripts/kafka check says what is missing"))
struct KafkaLogTests {
    let fixture: LogFixture
    let topic: String

    init() throws {
        fixture = try LogFixture(.kafka)
        topic = "\(fixture.system).accounts.balances"
    }

    private func outside(transactional: Bool = false) throws -> OutsideProducer {
        try OutsideProducer(
            brokers: KafkaCluster.shared.get().brokers, transactional: transactional ? fixture.system : nil)
    }

    // MARK: - Writing

    @Test func recordsWaitInOrderForRoom() throws {
        try fixture.run { [fixture] in
            let log = try await fixture.kafka { $0.properties["queue.buffering.max.messages"] = "10" }
            let (opened, acks) = try await fixture.open(log)
            for number in 0..<1000 { opened.append(number % 2, record("k\(number)", "v")) }
            await acks.wait(for: 1000)
            for changelog in 0..<2 {
                let own = acks.texts.filter { $0.hasPrefix("\(changelog)") }
                #expect(own == (0..<500).map { "\(changelog):\($0)" })
            }
            #expect(try await opened.readAll(0).count == 500)
            await log.close()
        }
    }

    @Test func aFailedProducerFailsItsUsesAndIsReplaced() throws {
        try fixture.run { [fixture] in
            let log = try await fixture.kafka()
            let (opened, acks) = try await fixture.open(log)
            opened.append(0, record("a", "1"))
            await acks.wait(for: 1)
            let sender = try #require(log.sender)
            rd_kafka_test_fatal_error(sender.client.handle, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "a test")
            for number in 0..<10 { opened.append(number % 2, record("b\(number)", "2")) }
            await acks.wait(for: 11)
            #expect(acks.texts == ["0:0"] + acks.texts.dropFirst())
            let failed = acks.all.dropFirst().allSatisfy { if case .failure = $0.result { true } else { false } }
            #expect(failed)
            let (second, more) = try await fixture.open(log)
            second.append(0, record("c", "3"))
            await more.wait(for: 1)
            guard case .success = more.all[0].result else { throw Failure("\(more.texts)") }
            #expect(fixture.reports.messages.contains("the Kafka producer has failed and is replaced"))
            await log.close()
        }
    }

    @Test func aRecordThatIsTooLargeFailsItsUseAlone() throws {
        try fixture.run { [fixture] in
            let log = try await fixture.kafka { $0.maxMessageBytes = 100_000 }
            let (opened, acks) = try await fixture.open(log)
            opened.append(0, record("a", "1"))
            opened.append(0, record("b", String(repeating: "v", count: 100_000)))
            opened.append(0, record("c", "1"))
            await acks.wait(for: 3)
            #expect(
                acks.texts == ["0:0", "0:tooLarge", "0:tooLarge"]
                    || acks.texts == Array(repeating: "0:tooLarge", count: 3))
            let (second, more) = try await fixture.open(log)
            second.append(1, record("d", String(repeating: "v", count: 99_000)))
            await more.wait(for: 1)
            #expect(more.texts == ["1:0"])
            await log.close()
        }
    }

    /// The one test with three brokers: they take a quarter of a minute to start, and a dead one nine seconds to miss.
    @Test func aDeadBrokerLosesAndSwapsNothing() throws {
        try fixture.run { [fixture] in
            let cluster = try await onThread { try KafkaCluster(brokers: 3) }
            defer { cluster.stop() }
            let log = try await fixture.kafka {
                $0.brokers = cluster.brokers
                $0.replication = 3
                $0.patience = .seconds(30)
            }
            let (opened, acks) = try await fixture.open(log)
            let topic = try log.sender?.client.topic("\(fixture.system).accounts.balances")
            let leader = try log.sender?.client.leader(try #require(topic), 3)
            var count = 0
            func write(_ more: Int) {
                for _ in 0..<more { opened.append(count % 2, record("k\(count)", "v")); count += 1 }
            }
            write(200)
            await acks.wait(for: 100)
            let victim = try #require(leader)
            try await onThread { try cluster.kill(victim) }
            write(200)
            await acks.wait(for: 400)
            try await onThread { try cluster.start(victim) }
            write(200)
            await acks.wait(for: 600)
            for changelog in 0..<2 {
                #expect(acks.texts.filter { $0.hasPrefix("\(changelog)") } == (0..<300).map { "\(changelog):\($0)" })
                #expect(try await opened.readAll(changelog).count == 300)
            }
            await log.close()
        }
    }

    // MARK: - Other writers

    @Test func transactionsOfOthersLeaveHoles() throws {
        try fixture.run { [fixture, topic] in
            let clock = ManualClock()
            let log = try await fixture.kafka(clock: clock)
            let (opened, acks) = try await fixture.open(log)
            let outside = try outside(transactional: true)
            opened.append(0, record("own", "1"))
            await acks.wait(for: 1)
            try outside.begin()
            try outside.write(topic, 3, "gone", "x")
            try outside.abort()
            let end = Task(executorPreference: fixture.executor) {
                try await opened.waitForRecords(0, beyond: Offset(2))
            }
            try await end.value
            #expect(try await opened.keys(0) == ["own@0"])
            let page = try await opened.read(0, from: Offset(1), maxBytes: 1000)
            #expect(page.records.isEmpty && page.next == Offset(3) && page.end == Offset(3))
            try outside.begin()
            try outside.write(topic, 3, "kept", "x")
            // Nothing can be read before the transaction ends, although the changelog is longer: a claimant, who asks
            // for its bounds, has to wait, and a master hears of nothing yet.
            #expect(try await opened.bounds(0).upperBound == Offset(4))
            #expect(opened.end(0) <= Offset(3))
            // Nor is anybody level with a log of which something cannot be read, however often the end is asked for.
            var moment = clock.monotonic
            for _ in 0..<2 {
                clock.advance(by: .seconds(5))
                moment = clock.monotonic
                try await fixture.waitUntil("a look at the ends") { opened.endSeen(1) >= moment }
            }
            #expect(opened.endSeen(0) < moment)
            let waiting = Task(executorPreference: fixture.executor) {
                try await opened.read(0, from: Offset(3), maxBytes: 1000)
            }
            try await fixture.waitUntil("a report of the stall") {
                fixture.reports.messages.contains(
                    "an open transaction of another producer keeps records from being read")
            }
            try outside.commit()
            let records = try await waiting.value.records
            #expect(records.map(\.offset) == [Offset(3)])
            #expect(records.first?.record.headers == RecordHeaders())
            try await fixture.waitUntil("the end behind the transaction") {
                opened.end(0) == Offset(5) && opened.endSeen(0) >= moment
            }
            opened.append(0, record("own", "2"))
            await acks.wait(for: 2)
            #expect(acks.texts == ["0:0", "0:5"])
            #expect(try await opened.keys(0) == ["own@0", "kept@3", "own@5"])
            await log.close()
        }
    }

    @Test func headersOfOthersThatLookLikeOursAreForeign() throws {
        try fixture.run { [fixture, topic] in
            let log = try await fixture.kafka()
            let (opened, _) = try await fixture.open(log)
            let outside = try outside()
            let headers: [(String, [UInt8])] = [
                ("affinity", [1, 2]), ("t", [1]), ("tag", [0xFF]), ("", []), (String(repeating: "n", count: 300), [0]),
            ]
            try outside.write(topic, 3, "a", nil, headers: headers)
            try outside.write(topic, 3, "", "", headers: [("affinity", [])])
            try await opened.waitForRecords(0, beyond: Offset(1))
            let read = try await opened.readAll(0).map(\.record)
            #expect(read.map(\.key) == [[97], []] && read.map(\.value) == [nil, []])
            #expect(read.allSatisfy { $0.headers.stamp == nil && $0.headers.time == nil })
            await log.close()
        }
    }

    @Test func compactionLeavesHolesThatPagesCross() throws {
        try fixture.run { [fixture] in
            let log = try await fixture.kafka { $0.compactionLag = .zero }
            let (opened, acks) = try await fixture.open(log)
            for number in 0..<300 { opened.append(0, record("k\(number % 3)", "\(number)")) }
            await acks.wait(for: 300)
            var count = 300
            // A segment is compacted when a later record has begun the next one.
            try await fixture.waitUntil("compaction") {
                count += 1
                opened.append(0, record("k\(count % 3)", "\(count)"))
                await acks.wait(for: count)
                return try await opened.readAll(0, maxBytes: 1).count < 100
            }
            let offsets = try await opened.readAll(0, maxBytes: 40).map(\.offset)
            #expect(offsets == offsets.sorted() && Set(offsets).count == offsets.count)
            #expect(offsets.last == Offset(Int64(count - 1)))
            #expect(try await opened.bounds(0) == .zero..<Offset(Int64(count)))
            await log.close()
        }
    }

    // MARK: - Topics

    @Test func topicsAreMadeAndChecked() throws {
        try fixture.run { [fixture, topic] in
            let log = try await fixture.kafka()
            _ = try await fixture.open(log)
            let client = try #require(log.sender).client
            let settings = try client.settings(ofTopic: topic, within: .seconds(5))
            for (name, value) in TopicFindings.settings(fixture.kafkaConfiguration) { #expect(settings[name] == value) }
            #expect(fixture.reports.messages.filter { $0 == "a topic was made" }.count == 2)
            // Settings that do not fit, found by another process.
            let other = try await fixture.kafka {
                $0.partitions["accounts"] = 5
                $0.maxMessageBytes += 1
            }
            let error = await #expect(throws: LogError.self) { _ = try await fixture.open(other) }
            #expect(error?.code == .shape)
            #expect(error?.reason.contains("topic \(topic) has 4 partitions instead of 5") == true)
            #expect(error?.reason.contains("max.message.bytes") == true)
            let plan = KafkaTopicPlan(
                name: "\(fixture.system).b.balances", partitions: 1, replication: 1,
                settings: [("cleanup.policy", "delete")])
            #expect(try client.create(plan, within: .seconds(5)))
            #expect(try client.create(plan, within: .seconds(5)) == false)
            let wrong = await #expect(throws: LogError.self) {
                _ = try await fixture.open(other, PartitionID(keyspace: "b", number: 0))
            }
            #expect(wrong?.reason.contains("cleanup.policy=delete instead of compact") == true)
            await other.close()
            await log.close()
        }
    }

    @Test func missingAndDeletedTopicsAreNotMade() throws {
        try fixture.run { [fixture, topic] in
            let checking = try await fixture.kafka {
                $0.createsTopics = false
                $0.patience = .seconds(1)
            }
            let error = await #expect(throws: LogError.self) { _ = try await fixture.open(checking) }
            #expect(error?.code == .shape && error?.reason.contains("storage.topics.create") == true)
            await checking.close()
            let log = try await fixture.kafka { $0.patience = .seconds(2) }
            let (opened, _) = try await fixture.open(log)
            await opened.close()
            try fixture.delete(topic, try #require(log.sender).client)
            try await fixture.waitUntil("the topic's deletion to be noticed") {
                do {
                    _ = try await fixture.open(log).0.close()
                    return false
                } catch let error as LogError {
                    return error.code == .shape && error.reason.contains("was deleted")
                }
            }
            await log.close()
        }
    }

    @Test func openingWithoutABrokerFailsInTime() throws {
        try fixture.run { [fixture] in
            let log = try await fixture.kafka {
                $0.brokers = "127.0.0.1:1"
                $0.patience = .milliseconds(300)
            }
            let error = await #expect(throws: LogError.self) { _ = try await fixture.open(log) }
            #expect(error?.isRetriable == true && error?.reason.contains("127.0.0.1:1") == true)
            await log.close()
        }
    }

    @Test func partitionsThatCannotBeTopicsAreRefused() throws {
        try fixture.run { [fixture] in
            let log = try await fixture.kafka { $0.partitions["a/1"] = 2 }
            for name in [PartitionID(keyspace: "a/1", number: 1), PartitionID(keyspace: "accounts", number: 4)] {
                let error = await #expect(throws: LogError.self) { _ = try await fixture.open(log, name) }
                #expect(error?.code == .shape)
            }
            await log.close()
        }
    }

    // MARK: - Properties

    @Test func propertiesAreCheckedAndSecretsAreNotSaid() async throws {
        #expect(KafkaLogConfiguration.problem(property: "acks", value: "1")?.contains("cannot be changed") == true)
        #expect(KafkaLogConfiguration.problem(property: "socket.timeout.ms", value: "5000") == nil)
        #expect(KafkaLogConfiguration.problem(property: "socket.timeout.ms", value: "soon") != nil)
        let names = KafkaLogConfiguration.propertyNames
        for name in ["sasl.password", "ssl.ca.location", "max.in.flight.requests.per.connection", "acks", "debug"] {
            #expect(names.contains(name))
        }
        for name in ["sasl.password", "ssl.key.password", "ssl.keystore.password", "sasl.oauthbearer.client.secret"] {
            #expect(KafkaLogConfiguration.isSecret(name))
        }
        let problem = KafkaLogConfiguration.problem(property: "ssl.key.pem", value: "hidden")
        #expect(problem?.contains("hidden") != true)
    }
}
