internal import AffinityBenchmarkSupport
internal import AffinityNet
internal import Foundation
internal import Synchronization

/// How many messages a second reach the watchers of one thing: of ConstantBenchmark, which sends what one of its
/// WebSockets sends to all of them, in C++.
///
/// It keeps `window` messages under way: the next is sent when every watcher has got the oldest of them.
@main enum Broadcast {
    static func main() async throws {
        let arguments = Arguments("port", "watchers", "seconds", "size", "window")
        let port = arguments.number("port", default: 8080)
        let watchers = arguments.number("watchers", default: 1000)
        let seconds = arguments.number("seconds", default: 5)
        let size = arguments.number("size", default: 200)
        let window = arguments.number("window", default: 4)
        let group = try EventLoopGroup(count: 1)
        let round = Round(port: port, watchers: watchers, message: String(repeating: "x", count: size), window: window)
        let loop = group.loops[0]
        await loop.start {
            do { try await round.connect(on: loop) } catch { print("broadcast: \(error)") }
        }.value
        try await Task.sleep(for: .seconds(1))
        // Behind the first messages.
        let before = round.received.load(ordering: .relaxed)
        let start = ContinuousClock.now
        try await Task.sleep(for: .seconds(seconds))
        let took = start.duration(to: .now) / .seconds(1)
        let count = round.received.load(ordering: .relaxed) - before
        printFigure("deliveries", Double(count) / took, "messages/s")
        await group.shutdown()
    }
}

/// Touched on its loop only, but for the count.
private final class Round: @unchecked Sendable {
    let received = Atomic<Int>(0)
    private let port: Int
    private let watchers: Int
    private let message: String
    private let window: Int
    private var sockets: [WebSocket] = []
    private var outstanding = 0

    init(port: Int, watchers: Int, message: String, window: Int) {
        self.port = port
        self.watchers = watchers
        self.message = message
        self.window = window
    }

    nonisolated(nonsending) func connect(on loop: EventLoop) async throws {
        for _ in 0..<watchers {
            let socket = try await WebSocket.connect("127.0.0.1", port, on: loop)
            socket.receive { _ in self.took() }
            sockets.append(socket)
        }
        for _ in 0..<window { sockets[0].send(message) }
        outstanding = watchers
    }

    /// One delivery; the watchers' messages come in order, so as many as there are watchers are one message's worth.
    private func took() {
        received.wrappingAdd(1, ordering: .relaxed)
        outstanding -= 1
        guard outstanding == 0 else { return }
        outstanding = watchers
        sockets[0].send(message)
    }
}
