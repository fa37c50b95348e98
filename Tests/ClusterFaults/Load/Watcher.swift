import AffinityTestSupport
import Foundation
import Glibc
import Synchronization

/// A client that watches one key, at one node after the other: where it goes it says what it was told last.
///
/// Follows on one thread; what it was told can be looked at on any.
final class Watcher: Sendable {
    /// What happened to it.
    enum Event: Equatable {
        /// It has come to a node.
        case opened(node: String, after: UInt64?)
        /// It was told that the entry has that version now; no value for one that was removed, or never was.
        case entry(version: UInt64, value: String?)
        /// It was told that what follows does not go on where it was.
        case startOver
    }

    let key: String
    private let number: Int
    private let state = Mutex((events: [Event](), last: UInt64?.none))

    init(_ number: Int, _ key: String) { (self.number, self.key) = (number, key) }

    var name: String { "watcher \(number) of \(key)" }
    var events: [Event] { state.withLock { $0.events } }
    /// The version that it was told last.
    var last: UInt64? { state.withLock { $0.last } }

    // MARK: - Following

    /// After so many seconds of silence it goes on at another node: less than most pauses.
    private static let patience = 1.0

    /// Watches until it is over.
    ///
    /// - Throws: `Failure` for a message that is none.
    func follow(
        _ nodes: () -> [ClusterNode], _ random: inout Seeded, until isOver: () -> Bool
    ) throws {
        while !isOver() {
            let after = last
            let query = after.map { "?after=\($0)" } ?? ""
            guard let node = nodes().filter(\.canAnswer).randomElement(using: &random),
                let socket = try? WebSocketProbe(port: node.port, "/kv/\(key)\(query)", timeout: 5)
            else {
                usleep(20_000)
                continue
            }
            note(.opened(node: node.id, after: after), after)
            // It leaves a node that is well, too.
            try follow(socket, atMost: Int.random(in: 3...30, using: &random), until: isOver)
        }
    }

    /// Takes messages, until there are none any more.
    private func follow(_ socket: WebSocketProbe, atMost count: Int, until isOver: () -> Bool) throws {
        for _ in 0..<count {
            let limit = ContinuousClock.now + .seconds(Self.patience)
            while (try? socket.http.hasInput(within: 50)) != true {
                if isOver() || ContinuousClock.now > limit { return }
            }
            guard let frame = try? socket.frame() else { return }
            switch frame.opcode {
            case 1: try take(frame.text)
            case 9: try? socket.send(.pong(frame.payload))
            default: return
            }
        }
    }

    private func take(_ text: String) throws {
        struct Members: Decodable { var version: UInt64?, value: Int?, deleted: Bool?, reset: Bool? }
        guard let members = try? JSONDecoder().decode(Members.self, from: Data(text.utf8)) else {
            throw Failure("\(name) was told \(text)")
        }
        switch (members.version, members.value, members.deleted, members.reset) {
        case (let version?, let value?, nil, nil): note(.entry(version: version, value: "\(value)"), version)
        case (let version?, nil, true, nil): note(.entry(version: version, value: nil), version)
        case (nil, nil, nil, true): note(.startOver, last)
        default: throw Failure("\(name) was told \(text)")
        }
    }

    private func note(_ event: Event, _ last: UInt64?) {
        state.withLock { state in
            state.events.append(event)
            state.last = last
        }
    }
}
