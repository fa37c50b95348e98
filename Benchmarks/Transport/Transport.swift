internal import AffinityBenchmarkSupport
internal import AffinityCore
internal import AffinityNet
internal import AffinityTransport
internal import Glibc

/// Requests from node to node: two links in one process, each on an event loop of its own, over the loopback.
@main enum Transport {
    static func main() async throws {
        let arguments = Arguments("seconds", "bytes", "flight")
        let seconds = arguments.number("seconds", default: 3)
        let body = [UInt8](repeating: 7, count: arguments.number("bytes", default: 100))
        let loops = try (0..<2).map { try EventLoopGroup(count: 1, name: $0 == 0 ? "asks" : "answers") }
        let links = try zip(["a", "b"], loops).map { name, group in
            try TCPPeerLink(
                group: group, configuration: PeerLinkConfiguration(system: "benchmark", node: NodeID(name)))
        }
        links[1].answer("echo") { request, _ throws(PeerError) in request }
        let port = try await links[1].listen(host: "127.0.0.1", port: 0)
        let peer = PeerAddress(node: NodeID("b"), host: "127.0.0.1", port: port)
        let asker = Asker(link: links[0], loop: loops[0].loops[0], peer: peer, body: body)
        try await asker.run(tasks: 64, seconds: 1)
        for tasks in [1, 64, 1000] where arguments.number("flight", default: tasks) == tasks {
            let before = (CPU(), await cpu(of: loops[0]), await cpu(of: loops[1]))
            let count = try await asker.run(tasks: tasks, seconds: seconds)
            let after = (CPU(), await cpu(of: loops[0]), await cpu(of: loops[1]))
            printFigure("transport/\(tasks)", Double(count) / Double(seconds), "/s")
            let each = 1e6 / Double(count)
            printFigure("transport/\(tasks)/cpu of who asks", (after.1 - before.1) * each, "µs")
            printFigure("transport/\(tasks)/cpu of who answers", (after.2 - before.2) * each, "µs")
            printFigure("transport/\(tasks)/cpu of the process", (after.0.seconds - before.0.seconds) * each, "µs")
        }
        for link in links { link.close() }
        for group in loops { await group.shutdown() }
    }

    /// What the loop's thread has used so far, in seconds.
    private static func cpu(of group: EventLoopGroup) async -> Double {
        await withCheckedContinuation { continuation in
            group.loops[0].post { continuation.resume(returning: CPU(.thread).seconds) }
        }
    }
}

/// A number of tasks on one loop, each of which waits for an answer before it asks again.
private struct Asker: Sendable {
    let link: TCPPeerLink
    let loop: EventLoop
    let peer: PeerAddress
    let body: [UInt8]

    @discardableResult
    func run(tasks: Int, seconds: Int) async throws -> Int {
        let end = SystemClock().monotonic.advanced(by: .seconds(seconds))
        return try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<tasks { group.addTask(executorPreference: loop) { try await self.ask(until: end) } }
            return try await group.reduce(0, +)
        }
    }

    private nonisolated(nonsending) func ask(until end: MonotonicTime) async throws -> Int {
        var count = 0
        var now = SystemClock().monotonic
        while now < end {
            _ = try await link.ask(peer, "echo", body, deadline: now.advanced(by: .seconds(10)))
            now = SystemClock().monotonic
            count += 1
        }
        return count
    }
}

/// Processor time, of the user and of the system.
private struct CPU {
    let seconds: Double

    /// Whose: the calling thread is not among the names that are imported.
    enum Who: Int32 { case process = 0, thread = 1 }

    init(_ who: Who = .process) {
        var usage = rusage()
        getrusage(who.rawValue, &usage)
        seconds =
            Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
    }
}
