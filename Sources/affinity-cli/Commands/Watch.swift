import AffinityNet
import Foundation
import Synchronization

extension Subcommand {
    static let watch = Subcommand(
        "watch", arguments: "KEY", words: 1...1, "prints the value of a key, and then every change of it",
        options: [
            .url, Option("after", "VERSION", "begins with what came after that version"),
            Option("count", "COUNT", "ends after so many lines; otherwise it goes on"),
        ],
        details: """
            A line has a version and the value that it left; `deleted` for none. Over the WebSocket at URL/KEY: that of KeyValue,
            and of every route that is declared with `watch` for one key. When the connection ends, it opens another one and
            goes on behind the last version, so that nothing is missed: for a minute, then it ends with 3. `start over` says
            that the changes in between cannot be had any more. --json prints what the node sends.
            """
    ) { call in
        let address = try call.address("url", "AFFINITY_URL", default: "http://127.0.0.1:8080/kv")
        let watcher = Watcher(
            address: address, path: "/" + call.words[0].segment,
            after: try call.number("after", in: 0...UInt64.max >> 1),
            count: try call.number("count", in: 1...Int.max) ?? .max, isJSON: call.wantsJSON)
        try watcher.run()
    }
}

/// Prints what a node says of a key.
private struct Watcher: Sendable {
    let address: ServerAddress
    let path: String
    let after: UInt64?
    let count: Int
    let isJSON: Bool

    /// How long a node may be away that has answered before.
    private static let patience = Duration.seconds(60)

    /// Blocks until it has printed enough, or nobody answers any more.
    func run() throws {
        let group = try EventLoopGroup(count: 1)
        let loop = group.loops[0]
        let (end, outcome) = (DispatchSemaphore(value: 0), Outcome())
        loop.start {
            let failure = await follow(loop)
            outcome.failure.withLock { $0 = failure }
            end.signal()
        }
        end.wait()
        if let failure = outcome.failure.withLock({ $0 }) { throw failure }
    }

    /// Where the loop leaves why it has ended.
    private final class Outcome: Sendable {
        let failure = Mutex<Failure?>(nil)
    }

    /// Connects, again and again, and prints what comes.
    ///
    /// - Returns: why it has ended; `nil` if all that was wanted has been printed.
    private nonisolated(nonsending) func follow(_ loop: EventLoop) async -> Failure? {
        var (seen, rest) = (after, count)
        var lastHeard: ContinuousClock.Instant?
        var configuration = WebSocketConfiguration()
        // A value may be as long as the node's bodies.
        configuration.messageLimit = 64 << 20
        while true {
            do throws(NetError) {
                let target = address.base + path + (seen.map { "?after=\($0)" } ?? "")
                let socket = try await WebSocket.connect(
                    address.host, address.port, target, on: loop, configuration: configuration)
                lastHeard = .now
                while let message = await socket.next() {
                    guard case .text(let message) = message, let told = Told(message) else {
                        return Failure(.refused, "what \(address) says cannot be read")
                    }
                    // Where JSON has the end of a line, it is as good as a blank.
                    let line = isJSON ? message : told.line
                    print(String(line.unicodeScalars.map { $0 == "\n" || $0 == "\r" ? " " : Character($0) }))
                    fflush(nil)
                    (seen, rest, lastHeard) = (told.version ?? seen, rest - 1, .now)
                    if rest == 0 {
                        socket.close()
                        return nil
                    }
                }
                let closure = await socket.closed()
                complain("affinity: the connection ended (\(closure.code) \(closure.reason)); opening another one")
            } catch {
                guard let heard = lastHeard, ContinuousClock.now - heard < Self.patience else {
                    let isAnswer = error.code == .refused
                    return Failure(isAnswer ? .refused : .unavailable, "\(address): \(error.reason)")
                }
            }
            try? await Task.sleep(for: .milliseconds(250))
        }
    }
}

/// One message of a watch of a key.
private struct Told {
    /// Of the change; `nil` if everything before holds no longer.
    let version: UInt64?
    let line: String

    /// `nil` for anything that is no such message.
    init?(_ text: String) {
        struct Members: Decodable {
            var version: UInt64?
            var deleted: Bool?
            var reset: Bool?
        }
        guard let members = try? JSONDecoder().decode(Members.self, from: Data(text.utf8)) else { return nil }
        version = members.version
        if members.reset == true {
            line = "start over"
        } else if let version, members.deleted == true {
            line = "\(version)  deleted"
        } else if let version, let start = text.firstRange(of: "\"value\":")?.upperBound, text.last == "}" {
            // As it stands, which for KeyValue is as it was put.
            line = "\(version)  \(text[start...].dropLast())"
        } else {
            return nil
        }
    }
}
