import Foundation

/// A request to a node, and what its answer means to whoever called the tool.
struct Exchange {
    var address: ServerAddress
    var method = "GET"
    /// Behind the address, with its slash.
    var path: String
    var headers: [(name: String, value: String)] = []
    var body: [UInt8]?
    /// How long connecting, asking and answering may take together.
    var limit = Duration.seconds(15)

    struct Answer {
        let head: HTTPConnection.Head
        let body: [UInt8]

        var version: Int? {
            guard let tag = head["etag"], tag.count > 2, tag.hasPrefix("\""), tag.hasSuffix("\"") else { return nil }
            return Int(tag.dropFirst().dropLast())
        }
    }

    /// More than the answer for a system with ten thousand partitions.
    private static let bodyMax = 64 << 20

    /// Asks, and gives an answer that is a success.
    ///
    /// - Throws: `Failure` for every other one: `refused` with the node's words, `unavailable` if nothing was changed
    ///   and the same may work later, `unknown` if something may have been changed.
    func success() throws -> Answer {
        let answer = try answer()
        guard (200..<300).contains(answer.head.status) else { throw refusal(answer) }
        return answer
    }

    /// Asks, and gives whatever is answered.
    func answer() throws -> Answer {
        for (name, value) in headers where !value.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) {
            throw Failure(.usage, "\(name) takes letters that can be in a header")
        }
        do {
            let connection = try HTTPConnection(to: address, within: limit)
            let head = try connection.ask(address, method, path, headers, body: body)
            return Answer(head: head, body: try connection.body(atMost: Self.bodyMax))
        } catch {
            throw failure(error)
        }
    }

    func failure(_ trouble: HTTPConnection.Trouble) -> Failure {
        if trouble.mayHaveArrived && !isRead {
            return Failure(.unknown, "\(address): \(trouble.text); whether it was done is not known")
        }
        return Failure(.unavailable, "\(address) does not answer: \(trouble.text)")
    }

    /// What an answer means that is no success.
    func refusal(_ answer: Answer) -> Failure {
        let text = "\(answer.head.status): \(answer.problem)"
        switch answer.head.status {
        case 429, 503: return Failure(.unavailable, text)
        case 500...: return Failure(isRead ? .unavailable : .unknown, text)
        default: return Failure(.refused, text)
        }
    }

    private var isRead: Bool { method == "GET" || method == "HEAD" }
}

extension Exchange.Answer {
    /// What is wrong, in the words of the node.
    var problem: String {
        struct Problem: Decodable { var detail: String }
        let detail = (try? JSONDecoder().decode(Problem.self, from: Data(body)))?.detail
        return detail ?? String(decoding: body.prefix(2_000), as: UTF8.self)
    }
}

extension Invocation {
    /// Where to ask: what the option says, or the variable, or the place where a node listens by default.
    func address(_ option: String, _ variable: String, default fallback: String) throws -> ServerAddress {
        let text = self[option] ?? ProcessInfo.processInfo.environment[variable] ?? fallback
        guard let address = ServerAddress(text) else {
            throw Failure(.usage, "\(text) is no address like \(fallback)")
        }
        return address
    }
}
