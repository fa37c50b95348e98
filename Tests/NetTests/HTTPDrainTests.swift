import AffinityNet
import AffinityTestSupport
import Foundation
import Testing

@Suite struct HTTPDrainTests {
    @Test func requestsInFlightAreAnsweredAndIdleConnectionsClosed() async throws {
        let gate = Gate()
        let group = try EventLoopGroup(count: 2)
        let server = try HTTPServer(group: group) { request in
            await gate.pass()
            return await echo(request)
        }
        let port = try await server.bind(host: "127.0.0.1", port: 0)
        let idle = UncheckedBox(try HTTPClient(port: port)), busy = UncheckedBox(try HTTPClient(port: port))
        try busy.value.send("GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
        try await gate.waitForVisitors(1)
        async let drained: Void = server.drain(within: .seconds(20))
        try await onThread { () throws in #expect(try idle.value.isAtEnd()) }
        #expect(throws: Failure.self) { try HTTPClient(port: port) }
        #expect(server.openConnections == 1)
        gate.open()
        let answer = try await onThread { try busy.value.answer() }
        #expect(answer.text == "GET /busy ")
        #expect(answer["connection"] == "close")
        try await onThread { () throws in #expect(try busy.value.isAtEnd()) }
        await drained
        #expect(server.openConnections == 0)
        await #expect(throws: NetError.self) { try await server.bind(host: "127.0.0.1", port: 0) }
        await group.shutdown()
    }

    /// A client that hears of the end with its request already sent could not tell what became of it.
    @Test func whatIsOnItsWayWhenTheServerDrainsIsAnswered() async throws {
        for _ in 0..<20 {
            let group = try EventLoopGroup(count: 2)
            let server = try HTTPServer(group: group, handler: echo)
            let port = try await server.bind(host: "127.0.0.1", port: 0)
            let known = UncheckedBox(try HTTPClient(port: port))
            #expect(try known.value.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
            // Behind these the loops find everything at once: a request, a new connection, and that the server drains.
            let blocked = DispatchSemaphore(value: 0)
            for loop in group.loops { loop.post { blocked.wait() } }
            let new = UncheckedBox(try HTTPClient(port: port))
            async let drained: Void = server.drain(within: .seconds(20))
            for client in [known, new] { try client.value.send("GET /late HTTP/1.1\r\nHost: x\r\n\r\n") }
            for _ in group.loops { blocked.signal() }
            try await onThread { () throws in
                for client in [known, new] { #expect(try client.value.answer().text == "GET /late ") }
            }
            await drained
            await group.shutdown()
        }
    }

    @Test func afterTheLimitTheRestIsClosed() async throws {
        let gate = Gate()
        let group = try EventLoopGroup(count: 1)
        let server = try HTTPServer(group: group) { _ in
            await gate.pass()
            return HTTPResponse(status: 200)
        }
        let port = try await server.bind(host: "localhost", port: 0)
        let client = UncheckedBox(try HTTPClient(port: port))
        try client.value.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try await gate.waitForVisitors(1)
        await server.drain(within: .milliseconds(30))
        await server.drain(within: .seconds(20))
        #expect(server.openConnections == 0)
        try await onThread { () throws in #expect(client.value.rest() != nil) }
        gate.open()
        await group.shutdown()
    }

    @Test func aServerThatIsDroppedClosesItsConnections() async throws {
        let group = try EventLoopGroup(count: 1)
        var server: HTTPServer? = try HTTPServer(group: group, handler: echo)
        let port = try #require(try await server?.bind(host: "127.0.0.1", port: 0))
        let client = UncheckedBox(try HTTPClient(port: port))
        #expect(try client.value.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
        server = nil
        try await onThread { () throws in #expect(try client.value.isAtEnd()) }
        await group.shutdown()
    }

    @Test func loopsCanEndBeforeTheirServer() async throws {
        let group = try EventLoopGroup(count: 2)
        let server = try HTTPServer(group: group, handler: echo)
        let port = try await server.bind(host: "127.0.0.1", port: 0)
        let client = UncheckedBox(try HTTPClient(port: port))
        #expect(try client.value.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
        await group.shutdown()
        try await onThread { () throws in #expect(try client.value.isAtEnd()) }
        await server.drain(within: .seconds(1))
    }

    @Test func severalAddresses() async throws {
        let group = try EventLoopGroup(count: 1)
        let server = try HTTPServer(group: group, handler: echo)
        let first = try await server.bind(host: "127.0.0.1", port: 0)
        let second = try await server.bind(host: "127.0.0.1", port: 0)
        #expect(first != second)
        for port in [first, second] {
            #expect(try HTTPClient(port: port).ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status == 200)
        }
        let inUse = await #expect(throws: NetError.self) { try await server.bind(host: "127.0.0.1", port: first) }
        #expect(inUse?.code == .addressInUse)
        let unknown = await #expect(throws: NetError.self) { try await server.bind(host: "192.0.2.1", port: 0) }
        #expect(unknown?.code == .badAddress)
        let badPort = await #expect(throws: NetError.self) { try await server.bind(host: "127.0.0.1", port: 70_000) }
        #expect(badPort?.code == .badConfiguration)
        await server.drain(within: .seconds(5))
        await group.shutdown()
    }
}
