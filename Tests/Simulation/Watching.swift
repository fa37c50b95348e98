import AffinityCore
import AffinityTesting

/// What clients are to watch in a run.
package struct WatchPlan: Sendable, Hashable {
    enum Scope: Sendable, Hashable {
        case key(String)
        case prefix(String)
    }

    var scope: Scope
    /// When it begins, and how long it stays with a node before it goes to another one.
    var begin: Int
    var stay: Int
    var node: Int
    /// Whether it takes its time with what it gets, and is content with the newest value of each key.
    var isSlow: Bool
}

extension Plan {
    /// Some watches, chosen by a chance of their own: everything else of the plan stays as it is.
    static func watches(_ seed: UInt64, nodes: Int) -> [WatchPlan] {
        let random = SeededRandom(seed ^ 0x3a7c4)
        return (0..<random.below(6)).map { _ in
            let scope: WatchPlan.Scope =
                random.once(in: 3)
                ? .prefix(random.pick(["", "k", "n", "f"]))
                : .key(random.pick(["k0", "n1", "k2", "n3", "f0", "k0", "n1"]))
            return WatchPlan(
                scope: scope, begin: random.below(Self.length), stay: random.pick([300, 1_500, 6_000, 60_000]),
                node: random.below(nodes), isSlow: random.once(in: 6))
        }
    }
}

/// A client that watches, loses its connection, and goes on at another node; keeps what it was told.
final class WatchingClient: @unchecked Sendable {
    /// What it was told of one key, from one beginning on.
    struct Story {
        /// What stood there: nothing told, if the story is of a watch of many keys and the key came later.
        var first: (version: UInt64, value: [UInt8]?)?
        var changes: [(version: UInt64, value: [UInt8]?)] = []
    }

    let plan: WatchPlan
    let number: Int
    private let cluster: SimulatedCluster<Entries>
    private let onFailure: (String) -> Void
    private var watch: SimulatedWatch?
    private var token = WatchToken()
    /// Tells what is heard of this watch from what is still heard of those before it.
    private var attempt = 0
    private var opened = 0
    private var isOver = false
    /// Whether it stays where it is from now on.
    var isStaying = false
    /// What is told now, and what was told before each new beginning, by partition and key.
    private(set) var stories: [Int: [String: Story]] = [:]
    private(set) var former: [(partition: Int, key: String, story: Story)] = []
    /// The partitions of which everything that stands there was told.
    private(set) var level: Set<Int> = []
    private(set) var events = 0
    private(set) var resets = 0

    init(
        _ plan: WatchPlan, _ number: Int, _ cluster: SimulatedCluster<Entries>, onFailure: @escaping (String) -> Void
    ) {
        (self.plan, self.number, self.cluster, self.onFailure) = (plan, number, cluster, onFailure)
    }

    private func say(_ text: @autoclosure () -> String) { cluster.simulation.say("watch \(number): \(text())") }

    private var isKey: Bool { if case .key = plan.scope { true } else { false } }

    func open() {
        guard !isOver, watch == nil else { return }
        let node = "n\((plan.node + opened) % cluster.nodes.count + 1)"
        opened += 1
        attempt += 1
        let (turn, after, scope) = (attempt, token, plan.scope)
        say("\(scope) at \(node) after \(after)")
        var options = WatchOptions(patience: .seconds(5))
        if plan.isSlow { (options.overflow, options.events) = (.coalesce, 8) }
        let limits = options
        watch = cluster.watch(node, atMost: plan.isSlow ? 1 : .max, pause: plan.isSlow ? .milliseconds(200) : nil) {
            service, executor, ready throws(WatchError) in
            let store = service.watched(\.main)
            switch scope {
            case .key(let key):
                return try service.watch(
                    store, key: key, after: after.versions.values.first, limits, on: executor, onReady: ready)
            case .prefix(let prefix):
                return try service.watch(
                    store, prefix: Array(prefix.utf8), after: after, limits, on: executor, onReady: ready)
            }
        } _: { [weak self] result, token in
            guard let self, turn == attempt else { return }
            hear(result, token)
        }
        guard watch != nil else { return comeBack(in: .milliseconds(200)) }
        cluster.simulation.after(.milliseconds(plan.stay)) { [weak self] in
            guard let self, turn == attempt, !isStaying else { return }
            say("goes away")
            comeBack(in: .milliseconds(20))
        }
    }

    func end() {
        isOver = true
        watch?.end()
        watch = nil
    }

    private func comeBack(in pause: Duration) {
        attempt += 1
        watch?.end()
        watch = nil
        // What was not told whole is told again, and what was told of it before does not count.
        for partition in stories.keys.sorted() where token[partition] == nil { begin(partition) }
        cluster.simulation.after(pause) { [weak self] in self?.open() }
    }

    private func begin(_ partition: Int) {
        level.remove(partition)
        for (key, story) in (stories.removeValue(forKey: partition) ?? [:]).sorted(by: { $0.key < $1.key }) {
            former.append((partition, key, story))
        }
    }

    private func hear(_ result: Result<[ByteWatch.Event], WatchError>?, _ token: WatchToken) {
        switch result {
        case nil, .failure:
            say("ends: \(result.map { "\($0)" } ?? "its node has died")")
            comeBack(in: .milliseconds(200))
        case .success(let events):
            for event in events { hear(event) }
            // A partition that was not told of yet may still begin where it was left.
            for (partition, version) in token.versions { self.token[partition] = version }
        }
    }

    private func hear(_ event: ByteWatch.Event) {
        events += 1
        switch event {
        case .startOver(let partition):
            say("starts over in \(partition)")
            resets += 1
            if let version = token[partition], !cluster.hasHole(in: partition, "main", behind: version.rawValue) {
                onFailure("watch: \(number) starts over behind \(version) of partition \(partition) for no reason")
            }
            token[partition] = nil
            begin(partition)
        case .level(let partition): level.insert(partition)
        case .current(let change):
            let key = String(decoding: change.key, as: UTF8.self)
            say("\(key) is \(change.value.map { String(decoding: $0, as: UTF8.self) } ?? "-")@\(change.version)")
            let story = stories[change.partition, default: [:]][key]
            if story != nil { onFailure("watch: \(number) is told of \(key) twice") }
            stories[change.partition, default: [:]][key] = Story(first: (change.version.rawValue, change.value))
            if isKey { level.insert(change.partition) }
        case .change(let change):
            let key = String(decoding: change.key, as: UTF8.self)
            say("\(key) becomes \(change.value.map { String(decoding: $0, as: UTF8.self) } ?? "-")@\(change.version)")
            stories[change.partition, default: [:]][key, default: Story()].changes.append(
                (change.version.rawValue, change.value))
        }
    }
}

/// What whoever watches has to be told: found out of the whole log, by a reading of its own.
struct WatchOracle {
    /// What happened to each key of `main`, by partition, in order.
    private(set) var changes: [[String: [(version: UInt64, value: [UInt8]?)]]] = []

    init(_ cluster: SimulatedCluster<Entries>, partitions: Int) {
        changes = (0..<partitions).map { Self.changes(in: $0, cluster) }
    }

    /// Void is what a former master wrote behind a claim, what is incomplete and all that follows it, and every epoch that
    /// has not settled.
    private static func changes(
        in partition: Int, _ cluster: SimulatedCluster<Entries>
    ) -> [String: [(version: UInt64, value: [UInt8]?)]] {
        let logs = ["_requests", "main", "twins"].map { cluster.history(of: partition, $0) }
        var fresh: [[LoggedRecord]] = []
        var settled: [Set<Epoch>] = []
        for log in logs {
            var (highest, kept, ended) = (Epoch.none, [LoggedRecord](), Set<Epoch>())
            for record in log {
                guard let stamp = record.record.headers.stamp else {
                    kept.append(record)
                    continue
                }
                if stamp.epoch < highest { continue }
                highest = stamp.epoch
                if stamp.number == 0, let value = record.record.value,
                    String(decoding: value, as: UTF8.self).contains("\"settled\"")
                {
                    ended.insert(stamp.epoch)
                }
                kept.append(record)
            }
            fresh.append(kept)
            settled.append(ended)
        }
        let served = settled.dropFirst().reduce(settled[0]) { $0.intersection($1) }
        var found: [Epoch: [UInt64: (UInt32, UInt32)]] = [:]
        var acknowledged: [Epoch: UInt64] = [:]
        for stamp in fresh.joined().compactMap(\.record.headers.stamp) {
            acknowledged[stamp.epoch] = max(acknowledged[stamp.epoch] ?? 0, stamp.acknowledged)
            if stamp.number > 0 { found[stamp.epoch, default: [:]][stamp.number, default: (0, stamp.count)].0 += 1 }
        }
        var last: [Epoch: UInt64] = [:]
        for epoch in served {
            var number = acknowledged[epoch] ?? 0
            while let (count, all) = found[epoch]?[number + 1], count >= all { number += 1 }
            last[epoch] = number
        }
        var changes: [String: [(version: UInt64, value: [UInt8]?)]] = [:]
        for record in fresh[1] {
            if let stamp = record.record.headers.stamp {
                guard stamp.number > 0, let last = last[stamp.epoch], stamp.number <= last else { continue }
            }
            changes[String(decoding: record.record.key, as: UTF8.self), default: []].append(
                (UInt64(record.offset.rawValue) + 1, record.record.value))
        }
        return changes
    }

    /// What is wrong with what a client was told; `nil` if nothing is.
    func mistake(in client: WatchingClient) -> String? {
        for (partition, key, story) in client.former {
            if let found = mistake(story, partition, key, client, isEnded: false) { return found }
        }
        for (partition, stories) in client.stories.sorted(by: { $0.key < $1.key }) {
            for (key, story) in stories.sorted(by: { $0.key < $1.key }) {
                if let found = mistake(story, partition, key, client, isEnded: true) { return found }
            }
        }
        return missing(of: client)
    }

    /// - Parameter isEnded: whether everything up to now has to be told.
    private func mistake(
        _ story: WatchingClient.Story, _ partition: Int, _ key: String, _ client: WatchingClient, isEnded: Bool
    ) -> String? {
        let all = changes[partition][key] ?? []
        var place: Int?
        var told = story.changes
        if let first = story.first, first.version > 0 {
            told.insert(first, at: 0)
        } else if let next = told.first, !client.plan.isSlow {
            // Nothing stood there before.
            let before = all.last { $0.version < next.version }
            if before?.value != nil { return "\(key): what came before \(next.version) is missing" }
        }
        for (version, value) in told {
            guard let found = all.firstIndex(where: { $0.version == version }) else {
                return "\(key): version \(version) does not count"
            }
            if all[found].value != value { return "\(key): version \(version) has another value" }
            if let place, found <= place { return "\(key): version \(version) is told again" }
            if let place, found != place + 1, !client.plan.isSlow {
                return "\(key): something before \(version) is missing"
            }
            place = found
        }
        guard isEnded else { return nil }
        if let place {
            return place == all.count - 1 ? nil : "\(key): what came behind \(all[place].version) is missing"
        }
        // It was said that nothing stands there.
        return all.last?.value == nil ? nil : "\(key): nothing was told of \(all.last?.version ?? 0)"
    }

    /// Entries that a client of many keys was told nothing of.
    private func missing(of client: WatchingClient) -> String? {
        guard case .prefix(let prefix) = client.plan.scope else {
            return client.stories.isEmpty ? "nothing was told" : nil
        }
        for (partition, keys) in changes.enumerated() {
            guard client.level.contains(partition) else { return "partition \(partition) was not told whole" }
            for (key, all) in keys.sorted(by: { $0.key < $1.key }) where key.hasPrefix(prefix) && all.last?.value != nil
            {
                if client.stories[partition]?[key] == nil { return "\(key) is missing" }
            }
        }
        return nil
    }
}
