import AffinityTestSupport
import Foundation
import Glibc
import Synchronization

/// A network between one node and one of its counterparts, which can be lost.
///
/// Passes TCP connections on. What does not come through waits, as TCP sends again what was lost: when the network is
/// back it arrives late, unless the connection was closed meanwhile. Two threads for each connection.
final class Proxy: Sendable {
    /// What becomes of bytes.
    enum Loss: String, CaseIterable, Sendable {
        /// Nothing comes through from who has opened the connection.
        case requests
        /// Nothing comes through to who has opened the connection.
        case answers
        case both
        /// Connections end, and no new one is made.
        case refused
    }

    /// Where it listens.
    let port: Int
    private let target: Int
    private let listener: Int32
    private let state = Mutex(State())
    private let changed = NSCondition()

    private struct State {
        var loss: Loss?
        var isStopped = false
        var connections: [Int: Connection] = [:]
        var next = 0
    }

    private struct Connection {
        var client: Int32
        var server: Int32
        /// Threads that still use the two.
        var users = 2
    }

    init(_ port: Int, to target: Int) throws {
        (self.port, self.target) = (port, target)
        listener = try Loopback.listen(port)
        Thread.detachNewThread { self.accept() }
    }

    /// Loses what comes from now on; nothing if `nil`.
    ///
    /// - Parameter closing: whether the connections that there were end with the loss: then nothing of them arrives late.
    func lose(_ loss: Loss?, closing: Bool = false) {
        state.withLock { state in
            state.loss = loss
            if closing || loss == .refused { Self.shutDown(state) }
        }
        wake()
    }

    func stop() {
        state.withLock { state in
            state.isStopped = true
            Self.shutDown(state)
        }
        shutdown(listener, Int32(SHUT_RDWR))
        wake()
    }

    private static func shutDown(_ state: State) {
        for connection in state.connections.values {
            shutdown(connection.client, Int32(SHUT_RDWR))
            shutdown(connection.server, Int32(SHUT_RDWR))
        }
    }

    private func wake() {
        changed.lock()
        changed.broadcast()
        changed.unlock()
    }

    // MARK: - Connections

    private func accept() {
        while true {
            let client = Loopback.accept(listener)
            if state.withLock({ $0.isStopped }) { break }
            guard client >= 0 else { continue }
            Loopback.setNoDelay(client)
            if state.withLock({ $0.loss == .refused }) {
                close(client)
            } else {
                Thread.detachNewThread { self.serve(client) }
            }
        }
        close(listener)
    }

    private func serve(_ client: Int32) {
        guard let server = try? Loopback.connect(target) else {
            close(client)
            return
        }
        let id = state.withLock { state in
            state.next += 1
            state.connections[state.next] = Connection(client: client, server: server)
            return state.next
        }
        Thread.detachNewThread { self.pump(id, from: server, to: client, lostBy: [.answers, .both, .refused]) }
        pump(id, from: client, to: server, lostBy: [.requests, .both, .refused])
    }

    /// Passes bytes on until one side ends, and then ends both.
    private func pump(_ id: Int, from: Int32, to: Int32, lostBy losses: Set<Loss>) {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while case let count = recv(from, &buffer, buffer.count, 0), count > 0 {
            awaitPassage(losses)
            guard sendAll(to, buffer[..<count]) else { break }
        }
        // An end is a message too.
        awaitPassage(losses)
        shutdown(from, Int32(SHUT_RDWR))
        shutdown(to, Int32(SHUT_RDWR))
        leave(id)
    }

    private func awaitPassage(_ losses: Set<Loss>) {
        changed.lock()
        defer { changed.unlock() }
        while state.withLock({ state in !state.isStopped && state.loss.map(losses.contains) == true }) {
            changed.wait()
        }
    }

    private func sendAll(_ to: Int32, _ bytes: ArraySlice<UInt8>) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { send(to, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent > 0 else { return false }
            rest = rest.dropFirst(sent)
        }
        return true
    }

    private func leave(_ id: Int) {
        let done = state.withLock { state -> Connection? in
            state.connections[id]?.users -= 1
            guard let connection = state.connections[id], connection.users == 0 else { return nil }
            state.connections[id] = nil
            return connection
        }
        guard let done else { return }
        close(done.client)
        close(done.server)
    }
}
