import AffinityCore
import AffinityNet
import AffinityTestSupport
import AffinityTransport
import Synchronization

/// What links report, to be looked at.
final class Reports: Sendable {
    private let all = Mutex<[String]>([])
    var texts: [String] { all.withLock { $0 } }
    var reporter: Reporter {
        { report in
            let fields = report.fields.map { "\($0.name)=\($0.value)" }.joined(separator: " ")
            self.all.withLock { $0.append("\(report.message) \(fields)") }
        }
    }
}

/// Two links in one process, each with loops of its own: `a` asks, `b` answers.
struct Pair: Sendable {
    let a: TCPPeerLink
    let b: TCPPeerLink
    let aLoops: EventLoopGroup
    let bLoops: EventLoopGroup
    let address: PeerAddress
    let reports: Reports

    func ask(_ type: String, _ body: [UInt8] = [], within limit: Duration = .seconds(30)) async throws -> [UInt8] {
        try await a.ask(address, type, body, deadline: SystemClock().monotonic.advanced(by: limit))
    }

    /// Lets the other link answer requests of the type `wait`, with nothing, once they may pass the gate.
    func holdAnswers() -> Gate {
        let gate = Gate()
        b.answer("wait") { _, _ throws(PeerError) in
            await gate.pass()
            return []
        }
        return gate
    }

    /// Runs `body` in a task of one of the asking link's loops.
    func onLoop<Result: Sendable>(
        _ index: Int = 0, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await Task(executorPreference: aLoops.loops[index]) { try await body() }.value
    }
}

/// Runs `body` with two links.
func withPair(
    loops: Int = 1, a changeA: (inout PeerLinkConfiguration) -> Void = { _ in },
    b changeB: (inout PeerLinkConfiguration) -> Void = { _ in }, meant: String = "b",
    _ body: (Pair) async throws -> Void
) async throws {
    let reports = Reports()
    let (a, aLoops) = try link("a", loops, reports, changeA)
    let (b, bLoops) = try link("b", loops, reports, changeB)
    let port = try await b.listen(host: "127.0.0.1", port: 0)
    let address = PeerAddress(node: NodeID(meant), host: "127.0.0.1", port: port)
    do {
        try await body(
            Pair(a: a, b: b, aLoops: aLoops, bLoops: bLoops, address: address, reports: reports))
    } catch {
        await end([a, b], [aLoops, bLoops])
        throw error
    }
    await end([a, b], [aLoops, bLoops])
}

private func link(
    _ name: String, _ loops: Int, _ reports: Reports, _ change: (inout PeerLinkConfiguration) -> Void
) throws -> (TCPPeerLink, EventLoopGroup) {
    let group = try EventLoopGroup(count: loops, name: name)
    var configuration = PeerLinkConfiguration(system: "test", node: NodeID(name))
    // A machine under load is slow; tests about these times set their own.
    configuration.connectTime = .seconds(60)
    configuration.keepAlivePatience = .seconds(60)
    change(&configuration)
    return (try TCPPeerLink(group: group, configuration: configuration, report: reports.reporter), group)
}

private func end(_ links: [TCPPeerLink], _ groups: [EventLoopGroup]) async {
    for link in links { link.close() }
    for group in groups { await group.shutdown() }
}

/// Counts from any thread.
final class Counter: Sendable {
    private let count = Atomic<Int>(0)
    func add(_ more: Int = 1) { count.wrappingAdd(more, ordering: .sequentiallyConsistent) }
    var value: Int { count.load(ordering: .sequentiallyConsistent) }
}

/// Holds whoever passes until it is opened, or its task is cancelled.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var visitors = 0
        var cancelled = 0
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
    }
    private let state = Mutex(State())

    var visitors: Int { state.withLock { $0.visitors } }
    var cancelled: Int { state.withLock { $0.cancelled } }

    nonisolated(nonsending) func pass() async {
        let number = state.withLock { state in
            state.visitors += 1
            return state.visitors
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOpen = state.withLock { state in
                    if !state.isOpen, !Task.isCancelled { state.waiting[number] = continuation }
                    return state.waiting[number] == nil
                }
                if isOpen { continuation.resume() }
            }
        } onCancel: {
            let waiting = state.withLock { state in
                state.cancelled += 1
                return state.waiting.removeValue(forKey: number)
            }
            waiting?.resume()
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            defer { state.waiting = [:] }
            return state.waiting
        }
        for continuation in waiting.values { continuation.resume() }
    }

    func waitForVisitors(_ count: Int) async throws {
        try await onThread { try waitUntil("\(count) visitors") { self.visitors >= count } }
    }

    func waitForCancelled(_ count: Int) async throws {
        try await onThread { try waitUntil("\(count) cancelled") { self.cancelled >= count } }
    }
}

/// What `body` throws.
func failure<Result>(
    _ body: () async throws -> Result, _ place: StaticString = #fileID
) async throws -> PeerError {
    do {
        _ = try await body()
    } catch let error as PeerError {
        return error
    }
    throw Failure("there was an answer where none should have been")
}
