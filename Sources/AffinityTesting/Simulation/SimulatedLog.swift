internal import AffinityCore

/// What goes between a process and the log, and can be held back (`SimulatedCluster.hold`).
public enum LogTraffic: Sendable {
    /// What its producer has sent and has not landed.
    case records
    /// The log's word on what is committed.
    case acknowledgements
}

/// A model of Kafka: changelogs that the processes of a simulation share.
///
/// A record lands at its changelog's leader, is committed when the others have it, and is acknowledged: each takes some
/// time, and all three can be kept from happening. Readers see what is committed. A producer hands its records over in
/// order, and asks again until they are committed; one that failed or died leaves behind what was on its way, to land
/// later, or never.
public final class SimulatedLog: @unchecked Sendable {
    /// Which changelog of which partition.
    struct Place: Hashable {
        var partition: PartitionID
        var name: String
    }

    final class Changelog: @unchecked Sendable {
        let place: Place
        /// What stands at each offset; `nil` for a transaction's marker, and for what compaction has taken.
        var slots: [LoggedRecord?] = []
        /// The same as if nothing had ever been compacted.
        var history: [LoggedRecord?] = []
        /// The end of what all replicas of the changelog have.
        var committed = 0
        /// Where another one's transaction begins that has not ended.
        var open: Int?
        /// Counts the leaders: what was on its way to a former one is sent again.
        var leader = 0
        /// Whether too few of the replicas are there to commit anything.
        var isStarved = false
        /// Before it, every record that should not count has been overwritten.
        var settled = 0
        /// What the producers have on their way.
        var lanes: [Lane] = []

        init(_ place: Place) { self.place = place }

        /// The highest epoch of its records, and the epoch of its last control record if that is a settled.
        var highestEpoch: Epoch { slots.reduce(.none) { max($0, $1?.record.headers.stamp?.epoch ?? .none) } }
        var settledEpoch: Epoch? {
            slots.last { $0?.record.headers.stamp?.number == 0 }.flatMap { $0 }.flatMap(Self.settledEpoch)
        }
        /// Behind the settled that the newest master began with.
        var begun: Int? {
            let epochs = history.prefix(stable).map { $0.flatMap(Self.settledEpoch) }
            guard let newest = epochs.compactMap({ $0 }).max() else { return nil }
            return epochs.firstIndex(of: newest).map { $0 + 1 }
        }

        private static func settledEpoch(_ logged: LoggedRecord) -> Epoch? {
            guard logged.record.headers.stamp?.number == 0, let value = logged.record.value,
                String(decoding: value, as: UTF8.self).contains("\"settled\"")
            else { return nil }
            return logged.record.headers.stamp?.epoch
        }

        /// The end of what can be read.
        var stable: Int { min(committed, open ?? committed) }

        func append(_ record: Record?, at time: Timestamp) -> Offset {
            let offset = Offset(Int64(slots.count))
            slots.append(record.map { LoggedRecord(offset: offset, appended: time, record: $0) })
            history.append(slots[slots.count - 1])
            return offset
        }
    }

    /// What one producer has on its way to one changelog.
    final class Lane: @unchecked Sendable {
        struct Entry {
            var record: Record
            let use: SimulatedPartitionLog
            let changelog: Int
            var offset = Offset.zero
        }

        let producer: SimulatedProducer
        var queue: [Entry] = []
        /// What has landed and is not committed.
        var landed: [Entry] = []
        /// Committed, and not known to the producer.
        var committed: [Entry] = []
        var isBusy = false
        var isDelivering = false
        /// What is held back here and would have come further.
        var held: Set<LogTraffic> = []

        init(_ producer: SimulatedProducer) { self.producer = producer }
    }

    let simulation: Simulation
    let settings: Settings
    private var changelogs: [PartitionID: [String: Changelog]] = [:]
    /// Whether no broker is there.
    public var isAway = false { didSet { if isAway { failOver(.max) } } }

    /// How the log behaves.
    public struct Settings: Sendable {
        /// How long one of the ways takes.
        public var latency: ClosedRange<Duration> = .microseconds(200)...(.milliseconds(5))
        /// How long every record stays.
        public var compactionLag = Duration.seconds(10)
        /// How long tombstones stay.
        public var deleteRetention = Duration.seconds(60)
        /// How often the ends are looked up.
        public var poll = Duration.milliseconds(150)
        /// How long a request waits for brokers that are away.
        public var patience = Duration.seconds(2)

        /// Kafka's, with all that is long made short.
        public init() {}
    }

    /// An empty log.
    init(_ simulation: Simulation, _ settings: Settings) {
        self.simulation = simulation
        self.settings = settings
    }

    func changelog(_ place: Place) -> Changelog {
        if let known = changelogs[place.partition]?[place.name] { return known }
        let made = Changelog(place)
        changelogs[place.partition, default: [:]][place.name] = made
        return made
    }

    /// All changelogs, in an order that every run has.
    var all: [Changelog] {
        changelogs.values.flatMap(\.values).sorted {
            ($0.place.partition.number, $0.place.name) < ($1.place.partition.number, $1.place.name)
        }
    }

    /// The names of the changelogs of a partition.
    func names(_ partition: PartitionID) -> [String] { (changelogs[partition] ?? [:]).keys.sorted() }

    func dismantle() { changelogs = [:] }

    private var now: Timestamp { SimulatedClock.calendar(simulation.now) }
    var latency: Duration { simulation.way(settings.latency) }

    // MARK: - Writing

    func append(
        _ record: Record, _ place: Place, _ producer: SimulatedProducer, _ use: SimulatedPartitionLog, _ index: Int
    ) {
        let changelog = changelog(place)
        let lane: Lane
        if let known = changelog.lanes.first(where: { $0.producer === producer }) {
            lane = known
        } else {
            lane = Lane(producer)
            changelog.lanes.append(lane)
        }
        lane.queue.append(Lane.Entry(record: record, use: use, changelog: index))
        pump(lane, changelog)
    }

    /// Sends what waits, unless something is on its way: so the order is kept.
    private func pump(_ lane: Lane, _ changelog: Changelog) {
        guard !lane.isBusy, !lane.queue.isEmpty else { return }
        lane.isBusy = true
        let count = simulation.share(of: lane.queue.count)
        simulation.after(latency) { [self] in land(count, lane, changelog) }
    }

    /// - Parameter isSent: whether it has been sent before, and was held back: it lands whatever has become of the sender.
    private func land(_ count: Int, _ lane: Lane, _ changelog: Changelog, isSent: Bool = false) {
        if lane.producer.isHeld(.records, of: changelog.place.name) {
            lane.held.insert(.records)
            return
        }
        guard !isAway, lane.producer.reachesBrokers || !lane.producer.isAlive || isSent else {
            // Who is gone asks once more at most.
            if !lane.producer.isAlive { return lane.queue = [] }
            return simulation.after(.milliseconds(50)) { [self] in land(count, lane, changelog) }
        }
        if !lane.producer.isAlive, !isSent, simulation.happens(onceIn: 2) { return lane.queue = [] }
        let count = min(count, lane.queue.count)
        for var entry in lane.queue.prefix(count) {
            entry.offset = changelog.append(entry.record, at: now)
            lane.landed.append(entry)
        }
        lane.queue.removeFirst(count)
        simulation.say(
            "\(lane.producer.name) lands \(count) in \(changelog.place.partition)/\(changelog.place.name) before \(changelog.slots.count)"
        )
        let (end, leader) = (changelog.slots.count, changelog.leader)
        simulation.after(latency) { [self] in commit(changelog, to: end, of: leader) }
    }

    private func commit(_ changelog: Changelog, to end: Int, of leader: Int) {
        guard leader == changelog.leader, !isAway else { return }
        if changelog.isStarved {
            return simulation.after(.milliseconds(50)) { [self] in commit(changelog, to: end, of: leader) }
        }
        changelog.committed = max(changelog.committed, end)
        for lane in changelog.lanes {
            let count = lane.landed.prefix { $0.offset.rawValue < changelog.committed }.count
            if count == 0 { continue }
            lane.committed += lane.landed.prefix(count)
            lane.landed.removeFirst(count)
            deliver(lane, changelog)
            if lane.landed.isEmpty {
                lane.isBusy = false
                pump(lane, changelog)
            }
        }
        changelog.lanes.removeAll {
            !$0.producer.isAlive && $0.queue.isEmpty && $0.landed.isEmpty && $0.committed.isEmpty
        }
    }

    private func deliver(_ lane: Lane, _ changelog: Changelog) {
        guard !lane.isDelivering, !lane.committed.isEmpty else { return }
        lane.isDelivering = true
        simulation.after(latency) { [self] in hand(lane, changelog) }
    }

    private func hand(_ lane: Lane, _ changelog: Changelog) {
        guard lane.producer.isAlive else { return lane.committed = [] }
        if lane.producer.isHeld(.acknowledgements, of: changelog.place.name) {
            lane.held.insert(.acknowledgements)
            return
        }
        guard lane.producer.reachesBrokers else {
            return simulation.after(.milliseconds(50)) { [self] in hand(lane, changelog) }
        }
        lane.isDelivering = false
        let count = simulation.share(of: lane.committed.count)
        for entry in lane.committed.prefix(count) { entry.use.take(entry.changelog, entry.offset) }
        lane.committed.removeFirst(count)
        deliver(lane, changelog)
    }

    // MARK: - What happens to it

    /// Lets everything go that was held back of what the producers of a process of that name sent, or are to hear.
    func letGo(_ traffic: LogTraffic, of process: String) {
        for changelog in all {
            for lane in changelog.lanes where lane.producer.name == process {
                lane.producer.endHolds(traffic)
                guard lane.held.remove(traffic) != nil else { continue }
                simulation.after(latency) { [self] in
                    switch traffic {
                    case .records: land(lane.queue.count, lane, changelog, isSent: true)
                    case .acknowledgements: hand(lane, changelog)
                    }
                }
            }
        }
    }

    /// Gives changelogs another leader, which does not have what was not committed.
    public func failOver(_ count: Int) {
        var changelogs = all
        while changelogs.count > count { changelogs.remove(at: simulation.random.below(changelogs.count)) }
        for changelog in changelogs { failOver(changelog) }
    }

    func failOver(_ changelog: Changelog) {
        simulation.say(
            "\(changelog.place.partition)/\(changelog.place.name) loses \(changelog.committed)..<\(changelog.slots.count)"
        )
        changelog.leader += 1
        changelog.slots.removeLast(changelog.slots.count - changelog.committed)
        changelog.history.removeLast(changelog.history.count - changelog.slots.count)
        if let open = changelog.open, open >= changelog.committed { changelog.open = nil }
        for lane in changelog.lanes {
            if lane.producer.isAlive { lane.queue = lane.landed + lane.queue }
            let wasLanded = !lane.landed.isEmpty
            lane.landed = []
            if wasLanded {
                lane.isBusy = false
                pump(lane, changelog)
            }
        }
    }

    /// Somebody else writes a record. Returns whether there was a broker to take it.
    func writeForeign(_ record: Record, _ place: Place) {
        if isAway { return }
        let changelog = changelog(place)
        _ = changelog.append(record, at: now)
        let (end, leader) = (changelog.slots.count, changelog.leader)
        simulation.say("somebody writes to \(place.partition)/\(place.name) at \(end - 1)")
        simulation.after(latency) { [self] in commit(changelog, to: end, of: leader) }
    }

    /// Somebody else begins a transaction with a record that nobody reads before it has ended.
    func beginForeign(_ record: Record, _ place: Place) {
        let changelog = changelog(place)
        guard !isAway, changelog.open == nil else { return }
        changelog.open = changelog.slots.count
        writeForeign(record, place)
    }

    /// Ends the transactions that are open: the marker takes an offset, and what was aborted is no record.
    public func endForeign(commits: Bool) {
        for changelog in all {
            guard let open = changelog.open, open < changelog.slots.count, !isAway else { continue }
            if !commits { (changelog.slots[open], changelog.history[open]) = (nil, nil) }
            changelog.open = nil
            _ = changelog.append(nil, at: now)
            let (end, leader) = (changelog.slots.count, changelog.leader)
            simulation.after(latency) { [self] in commit(changelog, to: end, of: leader) }
        }
    }

    /// Takes away records that have later ones of their key, and tombstones that have stood long enough, in a beginning of
    /// each changelog that chance chooses; in as much of it as it may if so asked, or where nothing is left to chance.
    public func compact(asFarAsCan isWhole: Bool = false) {
        let youngest = now.advanced(by: .zero - settings.compactionLag)
        let oldest = now.advanced(by: .zero - settings.deleteRetention)
        for changelog in all {
            let limit = min(changelog.stable, changelog.settled)
            let bound = (0..<limit).first { changelog.slots[$0].map { $0.appended > youngest } ?? false } ?? limit
            compact(changelog, below: isWhole ? bound : simulation.share(of: bound + 1) - 1, oldest)
        }
    }

    private func compact(_ changelog: Changelog, below bound: Int, _ oldest: Timestamp) {
        var seen = Set<[UInt8]>()
        for place in (0..<bound).reversed() {
            guard let record = changelog.slots[place] else { continue }
            let isLast = seen.insert(record.record.key).inserted
            if !isLast || (record.record.value == nil && record.appended < oldest) { changelog.slots[place] = nil }
        }
    }

    /// Whatever should not count has been overwritten by now.
    func settle(_ partition: PartitionID) {
        settle(partition, at: (changelogs[partition] ?? [:]).mapValues(\.stable))
    }

    /// A master has begun to serve: whatever should not count has been overwritten that stands before its settled. What
    /// has come behind it since may not have been.
    func settleBeginning(_ partition: PartitionID) {
        settle(partition, at: (changelogs[partition] ?? [:]).compactMapValues(\.begun))
    }

    /// The ends of a partition's changelogs, if nothing is on its way to any of them, and whoever claimed them last has
    /// settled, and has said that all is acknowledged: of what is not covered, only the lag keeps what the next one needs.
    func quietEnds(_ partition: PartitionID) -> [String: Int]? {
        let changelogs = changelogs[partition] ?? [:]
        let epoch = changelogs.values.map(\.highestEpoch).max() ?? .none
        if changelogs.values.contains(where: { $0.settledEpoch != epoch }) || uncovered(partition) != nil { return nil }
        let isBusy = changelogs.values.contains { changelog in
            changelog.slots.count > changelog.stable
                || changelog.lanes.contains { !$0.queue.isEmpty || !$0.landed.isEmpty || !$0.committed.isEmpty }
        }
        return isBusy ? nil : changelogs.mapValues(\.stable)
    }

    /// Which commands of a partition's newest epoch nobody has said to be acknowledged; `nil` if all are.
    func uncovered(_ partition: PartitionID) -> String? {
        let stamps = names(partition).flatMap { records(partition, $0) }.compactMap(\.record.headers.stamp)
        guard let epoch = stamps.map(\.epoch).max() else { return nil }
        let newest = stamps.filter { $0.epoch == epoch }
        let (last, covered) = newest.reduce((0, 0)) { (max($0.0, $1.number), max($0.1, $1.acknowledged)) }
        return last <= covered
            ? nil : "\(partition): command \(last) of epoch \(epoch), and only \(covered) are covered"
    }

    /// What stands before these ends, and should not count, has been overwritten.
    func settle(_ partition: PartitionID, at ends: [String: Int]) {
        for (name, end) in ends {
            guard let changelog = changelogs[partition]?[name] else { continue }
            changelog.settled = max(changelog.settled, end)
        }
    }

    /// Lets too few brokers be there for anything to be committed, for some changelogs that chance chooses (for all where
    /// nothing is left to chance); or for none.
    public func starve(_ isStarved: Bool) {
        for changelog in all {
            changelog.isStarved = isStarved && (simulation.latency != nil || simulation.random.once(in: 2))
        }
    }

    /// What can be read of a changelog, in order.
    func records(_ partition: PartitionID, _ name: String) -> [LoggedRecord] {
        let changelog = changelog(Place(partition: partition, name: name))
        return changelog.slots.prefix(changelog.stable).compactMap { $0 }
    }
}
