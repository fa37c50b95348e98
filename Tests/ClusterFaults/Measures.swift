import AffinityTestSupport
import Foundation

/// How long a system stands still, as figures.
extension Run {
    /// Kills masters; the time from the last acknowledged write of a partition to the next one.
    func measureKills(_ count: Int) throws {
        var times: [Double] = []
        let timeout = cluster.nodes.first?.status?.cluster?.timeout ?? options.session
        try withLoad(patience: "5s") { load in
            let scene = Scene(cluster, load, seed: options.seed)
            warmUp()
            while times.count < count {
                try scene.withNode(by: scene.masterships) { node in
                    let lost = try cluster.masters()[node.id] ?? []
                    if lost.isEmpty { return }
                    let begun = Journal.now
                    try node.kill()
                    try waitUntil("other masters", within: Self.recovery) {
                        guard let masters = try? cluster.masters() else { return false }
                        return masters[node.id] == nil
                            && masters.values.reduce(0) { $0 + $1.count } == options.partitions
                    }
                    try awaitWrites(load, since: Journal.now)
                    let gaps = Gaps(load.journal.signs, from: begun, to: Journal.now, partitions: lost)
                    times.append(gaps.writes)
                    say(String(format: "kill %d of %@: no write for %.3f s", times.count, node.id, gaps.writes))
                    try node.start()
                    try cluster.waitUntilWhole(within: Self.recovery)
                }
            }
            say(Self.text(load.journal.counts))
        }
        let bound = Double(timeout + Cluster.tick + 500) / 1_000
        say(
            "time without a write after kill -9 of a master: \(Self.spread(times)) kills; "
                + "the bound is \(bound) s (session \(timeout) ms, tick \(Cluster.tick) ms, 500 ms)")
        if times.contains(where: { $0 > bound }) { complaints.add("a kill took longer than \(bound) s") }
    }

    /// Restarts every node in good order, so many times.
    func measureRolling(_ rounds: Int) throws {
        try withLoad(patience: "5s") { load in
            let scene = Scene(cluster, load, seed: options.seed)
            warmUp()
            var times: [Double] = []
            for _ in 0..<rounds {
                for node in cluster.nodes {
                    let begun = Journal.now
                    try scene.restart(node)
                    try cluster.waitUntilWhole(within: Self.recovery)
                    let now = Journal.now
                    let gaps = (0..<options.partitions).map {
                        Gaps(load.journal.signs, from: begun, to: now, partitions: [$0]).writes
                    }
                    times += gaps
                    let text = gaps.map { String(format: "%.3f", $0) }.joined(separator: ", ")
                    say("restart of \(node.id): longest times without a write \(text) s")
                }
            }
            say(Self.text(load.journal.counts))
            say("longest time without a write to a partition: \(Self.spread(times))")
            let fine = ["read", "written", "added once", "not sent"]
            let failed = load.journal.counts.filter { !fine.contains($0.key) }.values.reduce(0, +)
            say("failed requests: \(failed)")
            if failed > 0 { complaints.add("\(failed) requests failed in a rolling restart") }
        }
    }

    /// Median and greatest of some times.
    private static func spread(_ times: [Double]) -> String {
        let sorted = times.sorted()
        return String(
            format: "median %.3f s, longest %.3f s of %d", sorted[sorted.count / 2], sorted[sorted.count - 1],
            sorted.count)
    }

    /// Lets the load run for 20 seconds: servers in Java that have just begun compile themselves, on the processors of
    /// the nodes.
    private func warmUp() { usleep(20_000_000) }
}
