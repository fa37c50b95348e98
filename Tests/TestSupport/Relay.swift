import Foundation
import Glibc
import Synchronization

/// Stands between a client and a server on the loopback, and does to their connections what networks do.
package final class Relay: Sendable {
    /// What goes through it.
    package enum Direction: CaseIterable, Sendable {
        case requests, answers
    }

    private struct State {
        var isCut = false
        var held: Set<Direction> = []
        var connections: [Connection] = []
    }

    /// Where clients find it, on 127.0.0.1.
    package let port: Int
    private let target: Int
    private let listener: Int32
    private let state = Mutex(State())
    private let changed = NSCondition()

    /// A relay to a port of the loopback.
    package init(to target: Int) throws {
        self.target = target
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        self.listener = listener
        var address = loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let error = withUnsafeMutablePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) != 0 || listen(listener, 16) != 0
                    || getsockname(listener, address, &length) != 0
            }
        }
        guard !error else {
            close(listener)
            throw Failure("relay: \(errno)")
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        // Ends when the listener is shut down, and holds the object until then.
        Thread.detachNewThread { self.accept() }
    }

    /// Ends all connections, and every new one at once, until `mend`.
    package func cut() {
        let ended = state.withLock { state in
            state.isCut = true
            defer { state.connections = [] }
            return state.connections
        }
        for connection in ended { connection.end() }
    }

    /// Lets connections through again.
    package func mend() { state.withLock { $0.isCut = false } }

    /// Keeps back what goes that way, until `release` or the end of the connection.
    package func hold(_ directions: Set<Direction> = Set(Direction.allCases)) {
        state.withLock { $0.held.formUnion(directions) }
    }

    /// Lets go on what was kept back.
    package func release() {
        state.withLock { $0.held = [] }
        changed.lock()
        changed.broadcast()
        changed.unlock()
    }

    /// Ends it. To be called once.
    package func stop() {
        cut()
        release()
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private func accept() {
        while case let client = Glibc.accept(listener, nil, nil), client >= 0 { relay(client) }
        close(listener)
    }

    private func relay(_ client: Int32) {
        let connection = Connection(client, to: target)
        guard let connection, !state.withLock({ $0.isCut }) else { return }
        state.withLock { $0.connections.append(connection) }
        for direction in Direction.allCases {
            Thread.detachNewThread { self.pump(connection, direction) }
        }
    }

    private func pump(_ connection: Connection, _ direction: Direction) {
        let (from, to) =
            direction == .requests
            ? (connection.client, connection.server) : (connection.server, connection.client)
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while case let count = recv(from, &buffer, buffer.count, 0), count > 0 {
            guard awaitLeave(direction, connection), sendAll(to, buffer.prefix(count)) else { break }
        }
        connection.end()
        state.withLock { $0.connections.removeAll { $0 === connection } }
    }

    private func awaitLeave(_ direction: Direction, _ connection: Connection) -> Bool {
        changed.lock()
        defer { changed.unlock() }
        while state.withLock({ $0.held.contains(direction) }), !connection.isEnded {
            _ = changed.wait(until: Date(timeIntervalSinceNow: 0.05))
        }
        return !connection.isEnded
    }

    private func sendAll(_ socket: Int32, _ bytes: ArraySlice<UInt8>) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// Both sockets of a connection, which are closed when nobody uses them any more.
    private final class Connection: Sendable {
        let client: Int32
        let server: Int32
        private let ended = Atomic(false)

        init?(_ client: Int32, to port: Int) {
            self.client = client
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            self.server = server
            var address = loopback(port)
            let length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let isConnected = withUnsafePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(server, $0, length) == 0 }
            }
            // Closes both sockets, as the end of a connection does.
            guard isConnected else { return nil }
        }

        deinit {
            close(client)
            close(server)
        }

        var isEnded: Bool { ended.load(ordering: .acquiring) }

        func end() {
            ended.store(true, ordering: .releasing)
            shutdown(client, Int32(SHUT_RDWR))
            shutdown(server, Int32(SHUT_RDWR))
        }
    }
}

private func loopback(_ port: Int) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    return address
}
