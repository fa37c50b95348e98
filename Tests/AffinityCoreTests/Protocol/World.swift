import AffinityCore
import AffinityTesting

@testable import AffinityCore

/// One step of a schedule: what happens, to which node or producer, and a number that says how.
struct ModelStep: Equatable {
    enum Kind: UInt8, CaseIterable {
        case grant, expire, tell, stop, work, retry, land, landAll, lost, ack, ackAll, read, gap, write, request,
            repeated
        case query, crash, restart, fatal, poll, cover, foreign, compact, age, check, mistake

        /// Whether a node hears something by it.
        var isHearing: Bool { self == .ack || self == .ackAll || self == .gap || self == .tell || self == .poll }

        /// Whether too much of it keeps anything else from happening.
        var isWild: Bool { self == .expire || self == .crash || self == .fatal || self == .stop }
    }

    var kind: Kind
    var who: UInt8
    var how: UInt8
}

extension ModelStep: CustomStringConvertible {
    var description: String { "\(kind)(\(who),\(how))" }
}

/// Three nodes, their producers, one log, a coordinator, and what clients have seen.
final class World {
    /// What may happen in a schedule.
    struct Setting {
        /// 0: nobody else writes. 1: others write, to keys of their own. 2: to all keys.
        var foreign = 0
        var mistake: Mistake?
        var operations = 10
    }

    let setting: Setting
    let clock = ManualClock()
    let lag = Duration.seconds(86_400)
    let history: History
    let log: ModelLog
    private(set) var nodes: [ModelNode] = []
    private(set) var producers: [Producer] = []
    /// Whom the coordinator takes for the master, and the last grant.
    private(set) var holder: Int?
    private(set) var grant: UInt64 = 0
    private var isToBeTold = [false, false, false]
    /// Below it, compaction with a lag that is longer than any outage may take what it likes.
    private(set) var settled: [Int]
    private var numbers: UInt64 = 1000
    private var crashes = 0
    private var fatals = 0
    private var stops = 0
    private var foreigns = 0
    private var ages = 0

    var mistake: Mistake? { setting.mistake }

    init(_ setting: Setting) throws {
        self.setting = setting
        let changelogs = Scribe.keys.count + 1
        history = History(isLinear: setting.foreign < 2)
        log = ModelLog(changelogs: changelogs, clock: clock)
        settled = Array(repeating: 0, count: changelogs)
        for index in 0..<3 {
            let node = try ModelNode(index, self)
            producers.append(node.producer)
            nodes.append(node)
        }
    }

    var changelogs: Int { settled.count }

    func makeNumber() -> UInt64 {
        numbers += 1
        return numbers
    }

    func makeProducer(_ node: Int) -> Producer {
        let producer = Producer(node: node, changelogs: changelogs)
        producers.append(producer)
        return producer
    }

    // MARK: - Steps

    /// Does a step, if it can be done.
    func take(_ step: ModelStep) throws -> Bool {
        let node = nodes[Int(step.who) % nodes.count]
        let isDone = try take(step, node, Int(step.how))
        if isDone {
            clock.advance(by: .milliseconds(1))
            for node in nodes { noteSettled(node) }
        }
        return isDone
    }

    private func take(_ step: ModelStep, _ node: ModelNode, _ how: Int) throws -> Bool {
        switch step.kind {
        case .work: node.work()
        case .retry: node.retry()
        case .stop: end(&stops, 2) { node.stop() }
        case .read: node.read(limit: [1, 2, 3, 100][how % 4], how / 4)
        case .gap: node.readGap(limit: [1, 2, 100][how % 3])
        case .query: node.ask()
        case .poll: node.poll()
        case .cover: node.coverWhenQuiet()
        case .crash: end(&crashes, 4) { node.crash(losing: [0, 1, 1, 2, 3][how % 5]) }
        case .fatal: end(&fatals, 3) { node.failProducer(how % changelogs) }
        case .restart: try restart(node)
        case .write, .request, .repeated: command(step.kind, node, how)
        case .grant, .expire, .tell: coordinate(step.kind, node)
        default: logStep(step, node, how)
        }
    }

    private func logStep(_ step: ModelStep, _ node: ModelNode, _ how: Int) -> Bool {
        let producer = producers[Int(step.who) % producers.count]
        return switch step.kind {
        case .land: land(producer, how % changelogs)
        case .landAll: landAll(producer)
        case .lost: lose(producer, how % changelogs)
        case .ack: acknowledge(node, how % changelogs, count: how / changelogs % 3 + 1)
        case .ackAll: acknowledgeAll(node, how)
        case .foreign: writeForeign(how)
        case .compact: compact(how)
        case .age: age()
        case .check: check()
        case .mistake: err(how)
        default: false
        }
    }

    /// Does what may happen at most `limit` times.
    private func end(_ count: inout Int, _ limit: Int, _ body: () -> Bool) -> Bool {
        guard count < limit, body() else { return false }
        count += 1
        return true
    }

    private func restart(_ node: ModelNode) throws -> Bool {
        guard !node.isUp else { return false }
        // After a restart always a new grant (W1).
        if holder == node.index { holder = nil }
        isToBeTold[node.index] = false
        return try node.restart()
    }

    // MARK: - The coordinator

    private func coordinate(_ kind: ModelStep.Kind, _ node: ModelNode) -> Bool {
        switch kind {
        case .grant:
            guard holder == nil, node.isUp, grant < 40 else { return false }
            holder = node.index
            if mistake != .grantTwice || grant == 0 { grant += 1 }
            isToBeTold[node.index] = false
            node.give(.mastership(.master(Grant(number: grant))))
        case .expire:
            guard holder == node.index else { return false }
            holder = nil
            isToBeTold[node.index] = true
        default:
            guard isToBeTold[node.index], node.isUp else { return false }
            isToBeTold[node.index] = false
            node.give(.mastership(.standby))
        }
        return true
    }

    /// A node asks for a higher grant; it gets one if it is still the holder.
    func renew(_ node: ModelNode, above number: UInt64) {
        guard holder == node.index else { return isToBeTold[node.index] = true }
        grant = max(grant, number) + 1
        node.give(.mastership(.master(Grant(number: grant))))
    }

    // MARK: - The log

    private func land(_ producer: Producer, _ changelog: Int) -> Bool {
        guard !producer.queues[changelog].isEmpty else { return false }
        let (record, use) = producer.queues[changelog].removeFirst()
        if producer.node != holder || !producer.isAlive { history.knowsOutcomeVersions = false }
        let offset = log.land(record, on: changelog)
        if producer.isAlive { producer.acks[changelog].append((offset, use)) }
        return true
    }

    private func landAll(_ producer: Producer) -> Bool {
        var hasLanded = false
        for changelog in 0..<changelogs { while land(producer, changelog) { hasLanded = true } }
        return hasLanded
    }

    private func lose(_ producer: Producer, _ changelog: Int) -> Bool {
        guard !producer.isAlive, !producer.queues[changelog].isEmpty else { return false }
        producer.queues[changelog] = []
        return true
    }

    private func acknowledge(_ node: ModelNode, _ changelog: Int, count: Int) -> Bool {
        let producer = node.producer
        guard node.isUp, !producer.acks[changelog].isEmpty else { return false }
        let acks = producer.acks[changelog].prefix(count)
        producer.acks[changelog].removeFirst(acks.count)
        deliver(acks.map { (changelog, $0.offset, $0.use) }, to: node)
        return true
    }

    /// All words that there are in one batch, in an order that keeps that of each changelog.
    private func acknowledgeAll(_ node: ModelNode, _ how: Int) -> Bool {
        guard node.isUp else { return false }
        var acks: [(Int, Offset, LogUse)] = []
        var turn = how
        while let changelog = (0..<changelogs).map({ ($0 + turn) % changelogs }).first(where: {
            !node.producer.acks[$0].isEmpty
        }) {
            let ack = node.producer.acks[changelog].removeFirst()
            acks.append((changelog, ack.offset, ack.use))
            turn += how / 3
        }
        deliver(acks, to: node)
        return !acks.isEmpty
    }

    private func deliver(_ acks: [(changelog: Int, offset: Offset, use: LogUse)], to node: ModelNode) {
        var rest = acks[...]
        while let use = rest.first?.use {
            let batch = rest.prefix { $0.use === use }
            rest = rest.dropFirst(batch.count)
            node.acknowledge(batch.map { LogAck(changelog: $0.changelog, result: .success($0.offset)) }, of: use)
        }
    }

    private func writeForeign(_ how: Int) -> Bool {
        guard setting.foreign > 0, foreigns < 8 else { return false }
        foreigns += 1
        history.knowsOutcomeVersions = false
        let changelog = how % changelogs
        let kind = how / changelogs % 5
        if kind == 0 { _ = log.land(nil, on: changelog) }
        let isShared = kind > 2 && setting.foreign == 2 && changelog > 0
        let key = isShared ? Scribe.keys[kind % 2] : "z"
        let value: [UInt8]? = how % 7 == 0 ? nil : [UInt8(0xF0 + foreigns % 16)]
        if kind > 0 {
            _ = log.land(Record(key: Array(key.utf8), value: value, headers: RecordHeaders()), on: changelog)
        }
        return true
    }

    /// Time passes, as long as the compaction lag.
    private func age() -> Bool {
        guard ages < 4 else { return false }
        ages += 1
        clock.advance(by: lag)
        return true
    }

    private func compact(_ how: Int) -> Bool {
        let changelog = how % changelogs
        if mistake == .compactionBeyondLag {
            return log.compact(changelog, below: log.raw[changelog].count, appendedBefore: clock.now)
        }
        let bound = how % 2 == 0 ? settled[changelog] : min(settled[changelog], how / 8)
        return log.compact(changelog, below: bound, appendedBefore: clock.now.advanced(by: .zero - lag))
    }

    /// What a serving master sees settled: the lag is longer than any outage, so compaction goes no further.
    private func noteSettled(_ node: ModelNode) {
        guard node.isServing, let state = node.state, !state.gaps.owesSettled, !state.gaps.hasFolded else { return }
        for changelog in 0..<changelogs {
            guard state.unsettled.doubtful(changelog).isEmpty else { return }
            let read = log.raw[changelog].prefix(Int(state.ackOffsets[changelog].rawValue))
            let key = node.stores[changelog].controlKey
            let last = read.last { $0?.record.key == key && $0?.record.headers.stamp != nil }
            guard last??.record.headers.stamp?.epoch == state.epoch else { return }
        }
        for changelog in 0..<changelogs {
            settled[changelog] = max(settled[changelog], Int(state.applied.places[changelog].covered.rawValue))
        }
    }

    // MARK: - Clients

    private func command(_ kind: ModelStep.Kind, _ node: ModelNode, _ how: Int) -> Bool {
        guard node.isServing, let state = node.state, state.pendingCount < 6 else { return false }
        if kind == .repeated {
            let requests = history.operations.indices.filter { history.operations[$0].isRequest }
            return !requests.isEmpty && node.run(requests[how % requests.count])
        }
        guard history.operations.count < setting.operations else { return false }
        let writes = UInt8(how % 15 + 1)
        let removes = how >= 128 ? UInt8(how % 16) & ~writes : 0
        let note = Note(
            number: UInt8(history.operations.count), writes: writes, removes: removes, isLinear: history.isLinear)
        history.operations.append(
            History.Operation(note: note, least: history.seen, isRequest: kind == .request))
        return node.run(history.operations.count - 1)
    }

    // MARK: - Mistakes

    private func err(_ how: Int) -> Bool {
        let changelog = how % changelogs
        switch mistake {
        case .recordLost where !log.raw[changelog].isEmpty:
            log.lose(changelog, Offset(Int64(log.raw[changelog].count - 1)))
        case .recordSkipped:
            let producer = producers[how % producers.count]
            guard let stamp = producer.queues[changelog].first?.record.headers.stamp, stamp.number > 0 else {
                return false
            }
            producer.queues[changelog].removeFirst()
        case .ackTooEarly:
            let producer = producers[how % producers.count]
            guard producer.isAlive, let first = producer.queues[changelog].first else { return false }
            producer.queues[changelog].removeFirst()
            producer.acks[changelog].append((log.end(changelog), first.use))
        default: return false
        }
        return true
    }
}
