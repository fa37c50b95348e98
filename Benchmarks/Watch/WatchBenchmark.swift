import AffinityBenchmarkSupport
import AffinityCore
import AffinityNet
import Foundation

/// Watches keys of a running KeyValue over many WebSockets, writes to them, and prints how long after a write its
/// watchers hear of it, and how many messages a second they get.
///
/// It needs a descriptor for each watcher (`ulimit -n`). With `--rate` it writes so often, whatever happens; without, it
/// keeps `--window` writes on their way to all their watchers. All of it is on one thread, so that its times are
/// comparable.
@main enum WatchBenchmark {
    static func main() async throws {
        let arguments = Arguments("port", "watchers", "keys", "rate", "window", "seconds", "writers", "size")
        let plan = Plan(
            port: arguments.number("port", default: 8080), watchers: arguments.number("watchers", default: 1000),
            keys: arguments.number("keys", default: 1), rate: Int(arguments.text("rate", default: "0")) ?? 0,
            window: arguments.number("window", default: 4), seconds: arguments.number("seconds", default: 5),
            writers: arguments.number("writers", default: 64), size: arguments.number("size", default: 200))
        let group = try EventLoopGroup(count: 1, name: "client")
        let loop = group.loops[0]
        let failure: String? = await withCheckedContinuation { continuation in
            loop.post {
                loop.start {
                    do {
                        try await Run(plan, on: loop).measure()
                        continuation.resume(returning: nil)
                    } catch { continuation.resume(returning: "\(error)") }
                }
            }
        }
        await group.shutdown()
        guard let failure else { return }
        FileHandle.standardError.write(Data("\(failure)\n".utf8))
        exit(1)
    }
}

/// What is measured.
struct Plan: Sendable {
    let port: Int
    let watchers: Int
    let keys: Int
    /// Writes a second; 0 for as many as are delivered.
    let rate: Int
    let window: Int
    let seconds: Int
    let writers: Int
    /// Bytes of a value, about.
    let size: Int
}

/// One measurement. Confined to the client's loop.
final class Run: @unchecked Sendable {
    private struct Write {
        let sent: MonotonicTime
        var answered: MonotonicTime?
        var left: Int
        var lastDelivered: MonotonicTime?
    }

    private let plan: Plan
    private let loop: EventLoop
    private let clock = SystemClock()
    private var sockets: [WebSocket] = []
    private var writers: [Writer] = []
    private var idle: [Writer] = []
    /// By the numbers that are their values.
    private var writes: [Int: Write] = [:]
    private var number = 0
    private var opened = 0
    private var isMeasuring = false
    private var messages = 0
    private var answers = Latencies()
    private var deliveries = Latencies()
    private var afterAnswers = Latencies()
    private var failure: String?
    private let filling: String

    init(_ plan: Plan, on loop: EventLoop) {
        self.plan = plan
        filling = String(repeating: "x", count: max(0, plan.size - 12))
        self.loop = loop
    }

    nonisolated(nonsending) func measure() async throws {
        try await open()
        for _ in 0..<plan.writers { writers.append(Writer(self, loop, plan.port)) }
        try await wait(.milliseconds(500))
        idle = writers
        // Once around without being measured.
        let start = clock.monotonic
        pump(since: start, issued: 0)
        try await wait(.seconds(1))
        isMeasuring = true
        let (begin, before) = (clock.monotonic, messages)
        try await wait(.seconds(plan.seconds))
        isMeasuring = false
        if let failure { throw BenchmarkError(failure) }
        let seconds = clock.monotonic.since(begin) / .seconds(1)
        printFigure("messages", Double(messages - before) / seconds, "1/s")
        printFigure("writes", Double(answers.count) / seconds, "1/s")
        for (name, latencies) in [
            ("answer", answers), ("delivery", deliveries), ("delivery-after-answer", afterAnswers),
        ] {
            printFigure("\(name)/p50", latencies.milliseconds(0.5), "ms")
            printFigure("\(name)/p99", latencies.milliseconds(0.99), "ms")
        }
    }

    /// Opens all watches, some at a time, and returns when each has been told what stands there.
    private nonisolated(nonsending) func open() async throws {
        let resolver = NameResolver()
        for watcher in 0..<plan.watchers {
            let socket = try await WebSocket.connect(
                "127.0.0.1", plan.port, "/kv/w\(watcher % plan.keys)", on: loop, within: .seconds(60), by: resolver)
            sockets.append(socket)
            socket.receive { [unowned self] message in
                if case .text(let text) = message { received(text) }
            }
        }
        while opened < plan.watchers { try await wait(.milliseconds(10)) }
    }

    private nonisolated(nonsending) func wait(_ duration: Duration) async throws {
        if let failure { throw BenchmarkError(failure) }
        let time = clock.monotonic.advanced(by: duration)
        await withUnsafeContinuation { continuation in loop.schedule(at: time) { continuation.resume() } }
    }

    // MARK: - Writing

    /// Writes as many as are due by now, or as the window has room for.
    private func pump(since start: MonotonicTime, issued: Int) {
        var issued = issued
        if plan.rate > 0 {
            let due = Int(clock.monotonic.since(start) / .microseconds(1)) * plan.rate / 1_000_000
            while issued < due, let writer = idle.popLast() {
                write(with: writer)
                issued += 1
            }
        } else {
            while writes.count < plan.window, let writer = idle.popLast() { write(with: writer) }
        }
        let next = plan.rate > 0 ? Duration.milliseconds(1) : .milliseconds(20)
        loop.schedule(at: clock.monotonic.advanced(by: next)) { [issued] in
            self.pump(since: start, issued: issued)
        }
    }

    private func write(with writer: Writer) {
        number += 1
        let each = plan.watchers / plan.keys + (number % plan.keys < plan.watchers % plan.keys ? 1 : 0)
        writes[number] = Write(sent: clock.monotonic, answered: nil, left: each)
        writer.put("/kv/w\(number % plan.keys)", number, "[\(number),\"\(filling)\"]")
    }

    func answered(_ number: Int, by writer: Writer) {
        idle.append(writer)
        guard var write = writes[number] else { return }
        let now = clock.monotonic
        write.answered = now
        if isMeasuring { answers.add(nanoseconds: now.since(write.sent).nanoseconds) }
        settle(number, write)
    }

    func fail(_ reason: String) { failure = failure ?? reason }

    // MARK: - Watching

    private func received(_ text: String) {
        messages += 1
        let number = text.utf8.drop { $0 != UInt8(ascii: "[") }.dropFirst().prefix { $0 != UInt8(ascii: ",") }
            .reduce(0) { $0 &* 10 &+ Int($1) &- 48 }
        guard var write = writes[number] else { return opened += 1 }
        let now = clock.monotonic
        write.left -= 1
        write.lastDelivered = now
        if isMeasuring { deliveries.add(nanoseconds: now.since(write.sent).nanoseconds) }
        settle(number, write)
    }

    private func settle(_ number: Int, _ write: Write) {
        guard let answered = write.answered, let delivered = write.lastDelivered, write.left == 0 else {
            return writes[number] = write
        }
        writes[number] = nil
        // A watcher may hear of a write before the writer does.
        if isMeasuring { afterAnswers.add(nanoseconds: max(1, delivered.since(answered).nanoseconds)) }
        if plan.rate == 0, let writer = idle.popLast() { self.write(with: writer) }
    }
}

/// A connection that writes, one request at a time.
final class Writer: TCPStreamOwner, @unchecked Sendable {
    private unowned let run: Run
    private let stream: TCPStream
    private var number = 0

    init(_ run: Run, _ loop: EventLoop, _ port: Int) {
        self.run = run
        stream = TCPStream(on: loop)
        stream.connect("127.0.0.1", port, within: .seconds(10), by: NameResolver(), owner: self)
    }

    func put(_ target: String, _ number: Int, _ value: String) {
        self.number = number
        let request =
            "PUT \(target) HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(value.utf8.count)\r\n\r\n\(value)"
        let bytes = Array(request.utf8)
        _ = stream.append(bytes.count) { $0.copyBytes(from: bytes) }
    }

    func streamOpened() {}
    func streamDrained() {}
    func streamClosed(_ error: NetError?) {
        run.fail("a writer's connection has ended: \(error.map { "\($0)" } ?? "")")
    }

    func streamReceived(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.starts(with: "HTTP/1.1 20".utf8) else {
            return run.fail(String(decoding: bytes.prefix(200), as: UTF8.self))
        }
        run.answered(number, by: self)
    }
}

struct BenchmarkError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension Duration {
    fileprivate var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
