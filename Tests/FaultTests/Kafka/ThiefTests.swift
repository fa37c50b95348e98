import AffinityTestSupport
import Foundation
import Testing

@testable import AffinityCore

extension Faults.Kafka.OneBroker {
    /// A second writer takes a partition's topics from a master that is alive.
    @Suite(.serialized) struct ThiefTests {
        @Test(arguments: KeyValueNode.MemStore.allCases)
        func aStolenPartitionAcknowledgesNothingBehindTheClaimAndComesBack(
            _ memstore: KeyValueNode.MemStore
        ) async throws {
            let rounds = Faults.Kafka.rounds(4)
            print("TEST_SEED=\(Faults.KillTests.seed) FAULT_ROUNDS=\(rounds)")
            let folder = try TemporaryFolder()
            let service = KafkaService("thief-\(memstore)", try brokers)
            let load = Load(seed: Faults.KillTests.seed, writers: 8, readers: 2, allowsRewrites: true)
            let stale = try await onThread {
                let data = folder.path + "/data"
                let node = try service.serving(data, memstore)
                let client = try TopicClient(service.brokers)
                for round in 0..<rounds {
                    let thief = Thief(service, client, partition: round % service.partitions)
                    let deed = Thief.Deed.allCases[round % Thief.Deed.allCases.count]
                    try load.run(node.port) {
                        try load.waitForWrites(150)
                        let before = try node.partitionStates()[thief.partition].mastership
                        let epoch = Epoch(grant: before.grant + 1 + UInt64(round) * 1_000, run: 7)
                        let value = "\"\(deed) \(round)\""
                        try thief.strike(epoch, deed, value)
                        try node.waitUntil {
                            let state = try node.partitionStates()[thief.partition]
                            return state.state == "serving" && state.mastership > epoch
                        }
                        try load.waitForWrites(100)
                        // What the thief wrote counts if he served, and only then.
                        let answer = try node.connect().ask("GET", "/kv/\(thief.key)")
                        let isThere = answer.status == 200 && answer.text == value
                        #expect(isThere == (deed == .serve), "\(deed): \(answer)")
                    }
                    #expect(load.ledger.mistakes == [], "round \(round): \(deed)")
                }
                try node.waitUntilQuiet()
                try load.checkAll(node.connect())
                let stale = try expectNothingAcknowledgedIsStale(service, client, load)
                // Compaction keeps the last record of each key: those that were in doubt were written again.
                try service.letCompact()
                try service.waitForCompaction(node)
                try service.finish(node, load, folder, data, memstore)
                return stale
            }
            print("Kafka, stolen partitions, \(memstore): \(load.ledger.summary), \(stale) stale records")
        }

        /// Looks for every acknowledged put in the topics, which still have all records.
        private func expectNothingAcknowledgedIsStale(
            _ service: KafkaService, _ client: TopicClient, _ load: Load
        ) throws -> Int {
            var valid: [Set<String>] = []
            var stale = 0
            for partition in 0..<service.partitions {
                var highest = Epoch.none
                var places: Set<String> = []
                for logged in try client.read(service.topic("kv"), partition) {
                    let epoch = logged.record.headers.stamp?.epoch ?? .none
                    if epoch < highest {
                        stale += 1
                        continue
                    }
                    highest = epoch
                    places.insert("\(String(decoding: logged.record.key, as: UTF8.self)) \(logged.offset.rawValue + 1)")
                }
                valid.append(places)
            }
            for (key, version) in load.ledger.written {
                #expect(valid[service.partition(key)].contains("\(key) \(version)"), "\(key) \(version)")
            }
            return stale
        }
    }
}

/// Writes to the topics of a partition as another master would.
struct Thief {
    enum Deed: CaseIterable {
        /// Claims the partition, and is never heard of again.
        case claim
        /// Dies after a command: it never served, so that is void.
        case writeUnsettled
        /// Claims one of the changelogs only.
        case claimOne
        /// Rewrites what is in doubt, serves, and a command of it counts.
        case serve
    }

    let partition: Int
    let key: String
    private let service: KafkaService
    private let client: TopicClient

    init(_ service: KafkaService, _ client: TopicClient, partition: Int) {
        (self.service, self.client, self.partition) = (service, client, partition)
        key = service.key(in: partition, "stolen")
    }

    func strike(_ epoch: Epoch, _ deed: Deed, _ value: String) throws {
        let log = try number()
        let stores = deed == .claimOne ? ["kv"] : KafkaService.stores
        let claims = try client.send(stores.map { control(.claim, epoch, log, $0) })
        switch deed {
        case .claim, .claimOne: break
        case .writeUnsettled: try client.send([command(epoch, 1, "kv", Array(key.utf8), Array(value.utf8))])
        case .serve:
            let count = try rewrite(epoch, claims)
            try client.send(stores.map { control(.settled, epoch, log, $0, acknowledged: count) })
            try client.send([command(epoch, count + 1, "kv", Array(key.utf8), Array(value.utf8))])
        }
    }

    /// C2, C3: a settled says that this was done. Gives the number of the last command.
    private func rewrite(_ epoch: Epoch, _ claims: [Int64]) throws -> UInt64 {
        let stores = KafkaService.stores
        var checkpoint = Checkpoint(
            level: .now, places: stores.map { Checkpoint.Place(changelog: $0, next: .zero) })
        var unsettled = UnsettledKeys(doubtful: stores.map { _ in [:] })
        var fold = LogFold(checkpoint, controlKeys: stores.map { _ in [] })
        var values = stores.map { _ in [[UInt8]: [UInt8]]() }
        func apply(_ decisions: LogFold.Decisions) {
            for write in decisions.writes { values[write.store][write.key] = write.entry?.value }
        }
        for (changelog, store) in stores.enumerated() {
            let records = try client.read(service.topic(store), partition)
            let end = records.last?.offset.next ?? .zero
            apply(fold.take(LogPage(records: records, next: end, end: end), of: changelog, &checkpoint, &unsettled))
        }
        apply(fold.conclude(epoch, claims: claims.map { Offset($0) }, &checkpoint, &unsettled))
        var commands: [TopicClient.Outgoing] = []
        for (changelog, store) in stores.enumerated() {
            for key in unsettled.doubtful(changelog).keys {
                commands.append(command(epoch, UInt64(commands.count) + 1, store, key, values[changelog][key]))
            }
        }
        // At once: before the former master is back.
        try client.send(commands)
        return UInt64(commands.count)
    }

    private func number() throws -> UInt64 { try Self.number(client, service.topic("kv"), partition) }

    private func control(
        _ kind: ControlRecord.Kind, _ epoch: Epoch, _ log: UInt64, _ store: String, acknowledged: UInt64 = 0
    ) -> TopicClient.Outgoing {
        Self.control(kind, epoch, log, service.topic(store), partition, acknowledged: acknowledged)
    }

    /// The log's own number, as the settled of its first master says it.
    static func number(_ client: TopicClient, _ topic: String, _ partition: Int) throws -> UInt64 {
        let records = try client.read(topic, partition)
        let controls = records.filter(\.record.key.isEmpty).compactMap { $0.record.value.flatMap(ControlRecord.init) }
        guard let number = controls.first(where: { $0.kind == .settled })?.logNumber else {
            throw Failure("no settled in \(topic)/\(partition)")
        }
        return number
    }

    /// A control record as a master writes it into a changelog whose keys are text.
    static func control(
        _ kind: ControlRecord.Kind, _ epoch: Epoch, _ log: UInt64, _ topic: String, _ partition: Int,
        acknowledged: UInt64 = 0
    ) -> TopicClient.Outgoing {
        let stamp = RecordStamp(epoch: epoch, number: 0, count: 1, acknowledged: acknowledged)
        return TopicClient.Outgoing(
            topic: topic, partition: partition, key: [],
            value: ControlRecord(kind, log: log, node: NodeID("thief")).bytes,
            headers: RecordHeaders(stamp: stamp, time: .now))
    }

    private func command(
        _ epoch: Epoch, _ number: UInt64, _ store: String, _ key: [UInt8], _ value: [UInt8]?
    ) -> TopicClient.Outgoing {
        let stamp = RecordStamp(epoch: epoch, number: number, count: 1, acknowledged: 0)
        return TopicClient.Outgoing(
            topic: service.topic(store), partition: partition, key: key, value: value,
            headers: RecordHeaders(stamp: stamp, time: .now))
    }
}

extension Timestamp {
    fileprivate static var now: Timestamp {
        Timestamp(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000))
    }
}
