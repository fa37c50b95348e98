import Foundation
import Glibc
import Synchronization

/// Stands between clients and a server on the loopback, and does to their connections what networks do.
///
/// Where clients say who they are with their first bytes, it can be done to the connections of one of them.
package final class Relay: Sendable {
    /// What goes through it.
    package enum Direction: CaseIterable, Sendable {
        case requests, answers
    }

    /// What is done, by the name of the client; the empty one is that of clients without.
    private struct State {
        var cut: Set<String> = []
        var held: [String: Set<Direction>] = [:]
        var connections: [Connection] = []
    }

    /// Where clients find it, on 127.0.0.1.
    package let port: Int
    private let target: Int
    private let listener: Int32
    private let nameOf: @Sendable (ArraySlice<UInt8>) -> String
    private let state = Mutex(State())
    private let changed = NSCondition()

    /// A relay to a port of the loopback.
    ///
    /// - Parameter nameOf: reads the client's name from the first bytes of a connection.
    package init(
        to target: Int, nameOf: @escaping @Sendable (_ firstBytes: ArraySlice<UInt8>) -> String = { _ in "" }
    ) throws {
        (self.target, self.nameOf) = (target, nameOf)
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
    package func cut(of name: String = "") {
        state.withLock { _ = $0.cut.insert(name) }
        end(of: name)
    }

    /// Lets connections through again.
    package func mend(of name: String = "") { state.withLock { _ = $0.cut.remove(name) } }

    /// Ends the connections that there are.
    package func end(of name: String = "") {
        for connection in state.withLock({ $0.connections.filter { $0.name == name } }) { connection.end() }
    }

    /// Keeps back what goes that way, until `release` or the end of the connection.
    package func hold(_ directions: Set<Direction> = Set(Direction.allCases), of name: String = "") {
        state.withLock { $0.held[name, default: []].formUnion(directions) }
    }

    /// Lets go on what was kept back.
    package func release(of name: String = "") {
        state.withLock { $0.held[name] = nil }
        wake()
    }

    /// Ends it. To be called once.
    package func stop() {
        cut()
        let connections = state.withLock { state in
            state.held = [:]
            return state.connections
        }
        for connection in connections { connection.end() }
        wake()
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private func wake() {
        changed.lock()
        changed.broadcast()
        changed.unlock()
    }

    private func accept() {
        while case let client = accept4(listener, nil, nil, Int32(SOCK_CLOEXEC.rawValue)), client >= 0 { relay(client) }
        close(listener)
    }

    private func relay(_ client: Int32) {
        let connection = Connection(client, to: target)
        guard let connection, !state.withLock({ $0.cut.contains("") }) else { return }
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
        var isNamed = direction == .answers
        while case let count = recv(from, &buffer, buffer.count, 0), count > 0 {
            if !isNamed { isNamed = name(connection, nameOf(buffer.prefix(count))) }
            guard awaitLeave(direction, connection), sendAll(to, buffer.prefix(count)) else { break }
        }
        // An end is kept back too.
        _ = awaitLeave(direction, connection)
        connection.end()
        state.withLock { $0.connections.removeAll { $0 === connection } }
    }

    private func name(_ connection: Connection, _ name: String) -> Bool {
        connection.name = name
        if state.withLock({ $0.cut.contains(name) }) { connection.end() }
        return true
    }

    private func awaitLeave(_ direction: Direction, _ connection: Connection) -> Bool {
        changed.lock()
        defer { changed.unlock() }
        while state.withLock({ $0.held[connection.name]?.contains(direction) == true }), !connection.isEnded {
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
        private let clientName = Mutex("")

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
            // Nothing is to wait for an acknowledgement that the other side delays.
            var yes: Int32 = 1
            for socket in [client, server] {
                setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
            }
        }

        deinit {
            close(client)
            close(server)
        }

        /// Who has opened it.
        var name: String {
            get { clientName.withLock { $0 } }
            set { clientName.withLock { $0 = newValue } }
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

/// Swift's headers do not show it: nothing else keeps a program that is started at the same moment from inheriting the
/// connection.
private let accept4 = unsafeBitCast(
    dlsym(nil, "accept4"),
    to: (@convention(c) (Int32, UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, Int32) -> Int32).self)
