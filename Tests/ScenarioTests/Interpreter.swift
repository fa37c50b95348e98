import AffinityCore
import AffinitySimulation
import AffinityTesting

/// Runs the commands of a scenario on a simulated cluster of one partition in which nothing is left to chance.
///
/// What the nodes report, and answers that come later, are in the output of the command during which they come.
final class Interpreter {
    private var cluster: SimulatedCluster<Entries>?
    private var output: [String] = []
    private var paused: Set<String> = []
    private var watches: [SimulatedWatch] = []

    /// Ends the cluster.
    func end() {
        watches = []
        cluster?.end()
        cluster = nil
    }

    /// Runs one command.
    ///
    /// - Returns: the lines that come of it.
    /// - Throws: `Mistake` if it is none.
    func run(_ text: String) throws -> [String] {
        var words = Words(text)
        output = []
        if words.name == "cluster" {
            try begin(nodes: try words.number())
        } else {
            guard let cluster else { throw Mistake("`cluster` comes first") }
            try run(&words, cluster)
        }
        try words.end()
        return output
    }

    /// `cluster 3`: nodes of which the first is master.
    private func begin(nodes: Int) throws {
        end()
        var settings = SimulationSettings()
        (settings.nodes, settings.replicas, settings.partitions, settings.loops) = (0, nodes, 1, 1)
        settings.latency = .milliseconds(1)
        let cluster = try SimulatedCluster(Entries.self, settings: settings, seed: 1)
        self.cluster = cluster
        for node in 1...max(1, nodes) {
            try cluster.start("n\(node)")
            for _ in 0..<100 where !cluster.isSettled() { cluster.run(for: .milliseconds(100)) }
        }
        cluster.simulation.trace = { [unowned self] in note($0) }
        try status(cluster)
    }

    private func run(_ words: inout Words, _ cluster: SimulatedCluster<Entries>) throws {
        switch words.name {
        case "put", "add", "delete", "get", "stale": try request(&words, cluster)
        case "watch": try watch(&words, cluster)
        case "status": try status(cluster)
        case "log": log(words.next() ?? "main", cluster)
        case "state": try state(of: words.node(), cluster)
        case "advance": cluster.run(for: try words.duration())
        case "deliver", "hold", "step": try hold(&words, cluster)
        case "cut", "mend": try connect(try node(&words, cluster), try words.word(), words.name == "mend", cluster)
        case "heal":
            paused = []
            cluster.heal()
        case "foreign", "transaction":
            let (key, value) = (try words.word(), Array(try words.word().utf8))
            for store in ["main", "twins"] {
                cluster.writeForeign(key, value, to: store, isOpen: words.name == "transaction")
            }
        case "commit", "abort": cluster.log.endForeign(commits: words.name == "commit")
        case "compact": cluster.log.compact()
        case "failover": cluster.log.failOver(.max)
        case "starve": cluster.log.starve(try words.isOn())
        case "tree": cluster.setTree(isServing: try words.isOn())
        default: try happen(&words, cluster)
        }
    }

    /// What happens to nodes.
    private func happen(_ words: inout Words, _ cluster: SimulatedCluster<Entries>) throws {
        let event = words.name
        let nodes = event == "start" ? try words.nodes() : [try node(&words, cluster)]
        for node in nodes {
            switch event {
            case "start": try cluster.start(node)
            case "stop": cluster.stop(node)
            case "crash":
                paused.remove(node)
                cluster.crash(node, losesDisk: words.flag("disk"))
            case "pause":
                paused.insert(node)
                cluster.pause(node)
            case "resume":
                paused.remove(node)
                cluster.resume(node)
            case "expire": cluster.expireSession(of: node)
            case "fail": cluster.failProducer(node)
            default: throw Mistake("there is no such command")
            }
        }
        // So that what comes of it is seen here.
        if words.flag("for") { cluster.run(for: try words.duration()) }
    }

    private func node(_ words: inout Words, _ cluster: SimulatedCluster<Entries>) throws -> String {
        let node = try words.node()
        guard cluster.nodes.contains(node) else { throw Mistake("there is no node \(node)") }
        return node
    }

    private func connect(
        _ node: String, _ other: String, _ isConnected: Bool, _ cluster: SimulatedCluster<Entries>
    ) throws {
        switch (other, isConnected) {
        case ("log", _): cluster.cutFromLog(node, !isConnected)
        case ("tree", _): cluster.cutFromTree(node, !isConnected)
        case (_, false):
            cluster.cut(from: node, to: other)
            cluster.cut(from: other, to: node)
        case (_, true): throw Mistake("only `heal` connects nodes again")
        }
    }

    private func hold(_ words: inout Words, _ cluster: SimulatedCluster<Entries>) throws {
        let traffic: LogTraffic
        switch try words.word() {
        case "records": traffic = .records
        case "acks": traffic = .acknowledgements
        default: throw Mistake("`records` or `acks`")
        }
        let node = try node(&words, cluster)
        if words.name == "hold" { return cluster.hold(traffic, of: node, changelog: words.next()) }
        cluster.letGo(traffic, of: node)
        guard words.name == "step" else { return cluster.run(for: Self.patience) }
        // Long enough for what was held, and too short for what comes of it.
        cluster.run(for: .milliseconds(2))
        cluster.hold(traffic, of: node, changelog: words.next())
        cluster.run(for: Self.patience)
    }

    // MARK: - Requests

    /// How long a request, or what was let go, is given before the next command.
    private static let patience = Duration.milliseconds(100)

    private func request(_ words: inout Words, _ cluster: SimulatedCluster<Entries>) throws {
        let text = words.text
        let key = try words.word()
        switch words.name {
        case "get", "stale":
            var envelope = Envelope()
            if words.name == "stale" { envelope.staleness = .seconds(3600) }
            let node = try words.address(cluster.nodes)
            let (look, sent) = (Look(key: key), envelope)
            wait(
                for: cluster.ask(node) { service throws(AskError) in try await service.read(look, sent) }, text,
                Shown.of)
        default:
            let action: AffinitySimulation.Change.Action =
                switch words.name {
                case "put": .put(Array(try words.word().utf8))
                case "add": .add(Int64(try words.number()))
                default: .delete
                }
            var (change, envelope) = (AffinitySimulation.Change(key: key, action: action), Envelope())
            while let option = words.option() {
                switch option.name {
                case "key":
                    envelope.idempotency = IdempotencyKey(
                        option.value, digest: Array("\(words.name) \(key) \(action)".utf8))
                case "match": change.match = UInt64(option.value)
                case "new": change.isNew = true
                default: throw Mistake("there is no option \(option.name)")
                }
            }
            let node = try words.address(cluster.nodes)
            let (sent, sentWith) = (change, envelope)
            wait(
                for: cluster.ask(node) { service throws(AskError) in try await service.commit(sent, sentWith) }, text,
                Shown.of)
        }
    }

    /// `watch a after=3 @n2`: what it says is in the output of the command during which it says so, as `w1`, `w2`, ….
    private func watch(_ words: inout Words, _ cluster: SimulatedCluster<Entries>) throws {
        let key = try words.word()
        var after: Version?
        while let option = words.option() {
            guard option.name == "after", let version = UInt64(option.value) else {
                throw Mistake("there is no option \(option.name)")
            }
            after = Version(version)
        }
        let node = try words.address(cluster.nodes)
        let (name, version) = ("w\(watches.count + 1)", after)
        let watch = cluster.watch(node) { service, executor, ready throws(WatchError) in
            try service.watch(service.watched(\.main), key: key, after: version, on: executor, onReady: ready)
        } _: { [unowned self] result, _ in
            switch result {
            case .success(let events): output += events.map { "\(name) \(Shown.of($0))" }
            case .failure(let error): output.append("\(name) ends: \(error)")
            case nil: output.append("\(name) loses its node")
            }
        }
        guard let watch else { throw Mistake("\(node) does not run") }
        watches.append(watch)
        cluster.run(for: Self.patience)
    }

    private func wait<Reply>(for answer: SimulatedAnswer<Reply>, _ text: String, _ shown: @escaping (Reply) -> String) {
        var isLate = false
        answer.then { [unowned self] result in
            let word: String
            switch result {
            case .success(let reply): word = shown(reply)
            case .failure(let error): word = error.description
            }
            output.append(isLate ? "\(text): \(word)" : word)
        }
        cluster?.run(atMost: Self.patience) { !answer.isWaiting }
        isLate = true
        if answer.isWaiting { output.append("waits") }
    }

    // MARK: - Looking

    /// A line of the trace: what nodes report, and the end of their sessions.
    private func note(_ line: String) {
        let (time, text) = (line.prefix { $0 != " " }, line.drop { $0 != " " }.dropFirst())
        let speaker = text.prefix { $0 != " " }
        guard speaker.hasSuffix(":") && speaker.hasPrefix("n") || text.hasPrefix("the session of") else { return }
        output.append("\(Shown.time(time)) \(text)")
    }

    private func status(_ cluster: SimulatedCluster<Entries>) throws {
        for node in cluster.nodes {
            guard cluster.running.contains(node) else {
                output.append("\(node) down")
                continue
            }
            if paused.contains(node) {
                output.append("\(node) paused")
                continue
            }
            let status = cluster.status(of: node)
            output.append("\(node) \(status.map(Shown.of).joined(separator: "; "))")
        }
    }

    private func log(_ changelog: String, _ cluster: SimulatedCluster<Entries>) {
        var expected = Offset.zero
        for record in cluster.records(of: 0, changelog) {
            while expected < record.offset {
                output.append("\(Shown.column(expected.description, 3)) -")
                expected = expected.next
            }
            expected = record.offset.next
            output.append(Shown.of(record, in: changelog))
        }
    }

    private func state(of node: String, _ cluster: SimulatedCluster<Entries>) throws {
        let stores = cluster.entries(of: 0)[node] ?? []
        for (name, entries) in zip(["_requests", "main", "twins"], stores) where !entries.isEmpty {
            let shown = entries.map { "\(Shown.text($0.key))=\(Shown.value(of: $0.entry, name))" }
            output.append("\(name): \(shown.joined(separator: ", "))")
        }
        if stores.allSatisfy(\.isEmpty) { output.append("nothing") }
    }
}
