import AffinityCore
import AffinityNet
import AffinityTestSupport
import Dispatch
import Synchronization
import Testing

/// Sends back what comes, or keeps it; remembers how it ended.
private final class Owner: TCPStreamOwner {
    private struct State {
        var received: [UInt8] = []
        var isOpened = false
        var drained = 0
        var end: NetError??
    }
    private let state = Mutex(State())
    let stream: TCPStream
    let echoes: Bool
    /// Where what comes goes on to, instead of being kept: a stream of the same loop.
    let next = Mutex<TCPStream?>(nil)

    init(_ stream: TCPStream, echoes: Bool) {
        self.stream = stream
        self.echoes = echoes
    }

    var received: [UInt8] { state.withLock { $0.received } }
    var isOpened: Bool { state.withLock { $0.isOpened } }
    var drained: Int { state.withLock { $0.drained } }
    var hasEnded: Bool { state.withLock { $0.end != nil } }
    var error: NetError? { state.withLock { $0.end ?? nil } }

    func streamOpened() { state.withLock { $0.isOpened = true } }

    func streamReceived(_ bytes: UnsafeRawBufferPointer) {
        #expect(stream.loop.isCurrent)
        if let target = next.withLock({ $0 }) ?? (echoes ? stream : nil) {
            return _ = target.append(bytes.count) { $0.copyMemory(from: bytes) }
        }
        state.withLock { $0.received += bytes }
    }

    func streamDrained() { state.withLock { $0.drained += 1 } }
    func streamClosed(_ error: NetError?) { state.withLock { $0.end = .some(error) } }

    func onLoop<Result: Sendable>(_ body: @escaping @Sendable (TCPStream) -> Result) async -> Result {
        await withCheckedContinuation { continuation in
            stream.loop.post { continuation.resume(returning: body(self.stream)) }
        }
    }

    func send(_ bytes: [UInt8]) async -> Bool {
        await onLoop { stream in stream.append(bytes.count) { $0.copyBytes(from: bytes) } }
    }
}

/// A listener and what it has accepted.
private struct Net: Sendable {
    let group: EventLoopGroup
    let listener: TCPListener
    let accepted: Accepted
    let port: Int
    let resolver = NameResolver()

    final class Accepted: Sendable {
        private let owners = Mutex<[Owner]>([])
        var all: [Owner] { owners.withLock { $0 } }
        func take(_ stream: TCPStream, echoes: Bool) {
            let owner = Owner(stream, echoes: echoes)
            owners.withLock { $0.append(owner) }
            stream.attach(to: owner)
        }
    }

    func connect(_ host: String = "127.0.0.1", port: Int? = nil, within limit: Duration = .seconds(10)) -> Owner {
        let owner = Owner(TCPStream(on: group.next()), echoes: false)
        owner.stream.loop.post {
            owner.stream.connect(host, port ?? self.port, within: limit, by: resolver, owner: owner)
        }
        return owner
    }
}

private func withNet(
    echoes: Bool = true, streamLimit: Int = 100, _ body: (Net) async throws -> Void
) async throws {
    let group = try EventLoopGroup(count: 2)
    let accepted = Net.Accepted()
    let listener = TCPListener(group: group, streamLimit: streamLimit) { accepted.take($0, echoes: echoes) }
    let port = try await listener.bind(host: "127.0.0.1", port: 0)
    let result: Result<Void, any Error>
    do {
        try await body(Net(group: group, listener: listener, accepted: accepted, port: port))
        result = .success(())
    } catch {
        result = .failure(error)
    }
    await group.shutdown()
    try result.get()
}

private func wait(_ what: String, _ isSo: @escaping @Sendable () -> Bool) async throws {
    try await onThread { try waitUntil(what) { isSo() } }
}

@Suite struct TCPTests {
    @Test func bytesGoBothWays() async throws {
        try await withNet { net in
            let client = net.connect("localhost")
            try await wait("the connection") { client.isOpened }
            let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            #expect(await client.send(bytes))
            try await wait("the echo") { client.received.count == bytes.count }
            #expect(client.received == bytes)
            #expect(net.accepted.all[0].stream.remote.hasPrefix("127.0.0.1:"))
        }
    }

    @Test func whatOneTurnAppendsIsOneWrite() async throws {
        try await withNet { net in
            let client = net.connect()
            try await wait("the connection") { client.isOpened }
            await client.onLoop { stream in
                for byte in 0..<UInt8(200) { #expect(stream.append(1) { $0[0] = byte }) }
                #expect(stream.unsent == 200)
            }
            try await wait("the echo") { client.received.count == 200 }
            #expect(client.received == Array(0..<200))
            #expect(await client.onLoop { $0.writes } == 1)
            #expect(await client.onLoop { $0.sent } == 200)
        }
    }

    @Test func theTurnsOfARoundShareWrites() async throws {
        try await withNet(echoes: false) { net in
            let out = net.connect()
            let clients = (0..<16).map { _ in net.connect() }
            try await wait("the connections") { clients.allSatisfy(\.isOpened) && net.accepted.all.count == 17 }
            // Those that are read on the loop of the stream that goes out, and not written there: which accepted stream
            // belongs to which client, the first byte tells.
            let loop = out.stream.loop
            for (number, client) in clients.enumerated() { #expect(await client.send([UInt8(number)])) }
            let accepted = net.accepted.all
            try await wait("the first bytes") { accepted.count { $0.received.count == 1 } == 16 }
            let readers = accepted.filter { reader in
                guard reader.stream.loop === loop, let number = reader.received.first else { return false }
                return clients[Int(number)].stream.loop !== loop
            }
            let writers = readers.map { clients[Int($0.received[0])] }
            try #require(readers.count > 1, "the connections are spread over both loops")
            let end = try #require(accepted.first { $0.received.isEmpty }, "the other end of the stream that goes out")
            for reader in readers { reader.next.withLock { $0 = out.stream } }
            // A round is short: on a busy machine, or under a sanitizer, one may be over before all turns have had theirs.
            for attempt in 1...20 {
                let before = await out.onLoop { $0.writes }
                let gate = DispatchSemaphore(value: 0)
                loop.post { gate.wait() }
                for writer in writers {
                    #expect(await writer.send([1]))
                    while await writer.onLoop({ $0.sent }) < 1 + attempt {}
                }
                gate.signal()
                try await wait("what they have sent") { end.received.count == readers.count * attempt }
                if await out.onLoop({ $0.writes }) < before + UInt64(readers.count) { return }
            }
            Issue.record("\(readers.count) turns that were found ready together have a write each")
        }
    }

    @Test func whatWasAppendedBeforeACloseIsNotLost() async throws {
        try await withNet(echoes: false) { net in
            let client = net.connect()
            try await wait("both ends") { client.isOpened && net.accepted.all.count == 1 }
            await client.onLoop { stream in
                #expect(stream.append(100) { $0.initializeMemory(as: UInt8.self, repeating: 1) })
                stream.close(reset: true)
            }
            try await wait("the end") { net.accepted.all[0].hasEnded }
            #expect(net.accepted.all[0].received.count == 100 && net.accepted.all[0].error == nil)
        }
    }

    @Test func whoDoesNotReadStopsWhoSends() async throws {
        try await withNet(echoes: false) { net in
            let client = net.connect()
            try await wait("both ends") { client.isOpened && net.accepted.all.count == 1 }
            let other = net.accepted.all[0]
            await other.onLoop { $0.pause() }
            let bytes = [UInt8](repeating: 5, count: 64 << 20)
            #expect(await client.send(bytes))
            await client.onLoop { $0.tellBelow(1000) }
            try await wait("the system's buffers") { client.stream.sent > 0 }
            #expect(await client.onLoop { $0.unsent } > 0)
            #expect(client.drained == 0 && other.received.isEmpty)
            await other.onLoop { $0.resume() }
            try await wait("the bytes") { other.received.count == bytes.count }
            #expect(client.drained == 1)
        }
    }

    @Test func theEndComesBehindTheBytes() async throws {
        try await withNet(echoes: false) { net in
            let client = net.connect()
            try await wait("the connection") { client.isOpened }
            await client.onLoop { stream in
                #expect(stream.append(8 << 20) { $0.initializeMemory(as: UInt8.self, repeating: 1) })
                stream.finish()
                #expect(!stream.append(1) { _ in })
            }
            try await wait("the end") { client.hasEnded && net.accepted.all.first?.hasEnded == true }
            #expect(net.accepted.all[0].received.count == 8 << 20)
            #expect(client.error == nil && net.accepted.all[0].error == nil)
        }
    }

    @Test func aConnectionThatDoesNotComeAbout() async throws {
        try await withNet { net in
            net.listener.close()
            let badPort = net.connect(port: 70_000)
            let noName = net.connect("name.invalid")
            try await wait("the failures") { badPort.hasEnded && noName.hasEnded }
            #expect(badPort.error?.code == .badAddress)
            #expect([.badAddress, .timedOut].contains(noName.error?.code))
            try await wait("the listener's end") {
                let client = net.connect()
                while !client.hasEnded, !client.isOpened {}
                return client.error?.code == .unreachable
            }
            await #expect(throws: NetError.self) { try await net.listener.bind(host: "127.0.0.1", port: 0) }
        }
    }

    @Test func placesAreLimited() async throws {
        try await withNet(streamLimit: 1) { net in
            let first = net.connect()
            try await wait("the first") { first.isOpened && net.accepted.all.count == 1 }
            let second = net.connect()
            try await wait("the second") { second.hasEnded }
            await first.onLoop { $0.close() }
            try await wait("the place") { net.accepted.all[0].hasEnded }
            let third = net.connect()
            #expect(await third.send([1]) || true)
            try await wait("the third") { net.accepted.all.count == 2 || third.hasEnded }
            #expect(net.accepted.all.count == 2)
        }
    }

    /// It would hold a connection that has been closed here.
    @Test func aProgramThatIsStartedInheritsNoConnection() async throws {
        try await withNet { net in
            let client = net.connect()
            try await wait("the connection") { client.isOpened && net.accepted.all.count == 1 }
            let program = try Child("/bin/sleep", ["600"])
            defer { try? program.killNow() }
            await client.onLoop { $0.close() }
            try await wait("the end") { net.accepted.all[0].hasEnded }
        }
    }

    @Test func streamsEndWithTheirLoops() async throws {
        let group = try EventLoopGroup(count: 1)
        let accepted = Net.Accepted()
        let listener = TCPListener(group: group, streamLimit: 10) { accepted.take($0, echoes: true) }
        let port = try await listener.bind(host: "127.0.0.1", port: 0)
        let net = Net(group: group, listener: listener, accepted: accepted, port: port)
        let client = net.connect()
        try await wait("both ends") { client.isOpened && accepted.all.count == 1 }
        await group.shutdown()
        #expect(client.hasEnded && accepted.all[0].hasEnded)
    }
}
