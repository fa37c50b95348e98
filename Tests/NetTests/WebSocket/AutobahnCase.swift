import AffinityTestSupport

/// A case of the Autobahn test suite, by its number in the published list: what a client sends, and what comes of it at a
/// server that echoes.
struct AutobahnCase: Sendable {
    typealias Frame = WebSocketProbe.Frame

    /// In what parts the bytes are handed to the system.
    enum Chops { case together, frames, octets, of(Int) }

    enum End: Equatable {
        /// The connection is as it should be: the client closes it with 1000 and gets that back.
        case open
        /// The server closes with that code, after what is expected or in the middle of it.
        case closed(Int)
    }

    var number: String
    var sent: [[UInt8]]
    var expected: [Frame] = []
    /// Whether the server may close before it has sent what is expected.
    var mayBeShort = false
    var end: End = .open
    var chops: Chops = .together

    func run(_ port: Int) throws {
        let probe = try WebSocketProbe(port: port)
        try send(probe)
        var frames: [Frame] = []
        while frames.count < expected.count {
            let frame = try probe.frame()
            if frame.opcode == 8 { return try check(frames, closedBy: frame, probe) }
            frames.append(frame)
        }
        guard frames == expected else { throw Failure("\(number): \(frames) instead of \(expected)") }
        if end == .open { try probe.send(.close(1000)) }
        try check(frames, closedBy: try probe.frame(), probe)
    }

    private func check(_ frames: [Frame], closedBy close: Frame, _ probe: WebSocketProbe) throws {
        guard mayBeShort ? expected.starts(with: frames) : frames == expected else {
            throw Failure("\(number): \(frames) instead of \(expected)")
        }
        let code = end == .open ? .closed(1000) : end
        guard .closed(close.closeCode ?? 1005) == code else { throw Failure("\(number): \(close), not \(code)") }
        guard try probe.http.isAtEnd() else { throw Failure("\(number): more behind the close frame") }
    }

    private func send(_ probe: WebSocketProbe) throws {
        let all = Array(sent.joined())
        do {
            switch chops {
            case .together: try probe.http.send(all)
            case .frames: for frame in sent { try probe.http.send(frame) }
            case .octets: for byte in all { try probe.http.send([byte]) }
            case .of(let count):
                for at in stride(from: 0, to: all.count, by: count) {
                    try probe.http.send(Array(all[at..<min(at + count, all.count)]))
                }
            }
        } catch  where end != .open {
            // A server that has seen enough need not read the rest.
        }
    }
}

// What cases are made of.
extension AutobahnCase {
    typealias Bytes = [UInt8]

    static func frame(_ opcode: UInt8, _ payload: Bytes = [], final: Bool = true, reserved: UInt8 = 0) -> Bytes {
        WebSocketProbe.bytes(opcode, payload, final: final, bits: reserved << 4)
    }
    static func text(_ text: String, final: Bool = true, reserved: UInt8 = 0) -> Bytes {
        frame(1, Array(text.utf8), final: final, reserved: reserved)
    }
    static func more(_ text: String, final: Bool) -> Bytes { frame(0, Array(text.utf8), final: final) }
    static func ping(_ payload: Bytes = []) -> Bytes { frame(9, payload) }
    static func pong(_ payload: Bytes = []) -> Bytes { frame(10, payload) }
    static func close(_ code: Int?, _ reason: Bytes = []) -> Bytes {
        frame(8, Frame.close(code).payload + reason)
    }
    static func bytes(_ count: Int, _ byte: UInt8 = 0x2A) -> Bytes { Bytes(repeating: byte, count: count) }

    /// A message in frames of `size` bytes.
    static func fragments(_ opcode: UInt8, _ payload: Bytes, _ size: Int) -> [Bytes] {
        let starts = Array(stride(from: 0, to: payload.count, by: size))
        return starts.map { at in
            frame(
                at == 0 ? opcode : 0, Array(payload[at..<min(at + size, payload.count)]), final: at == starts.last)
        }
    }

    /// The same case with other chops.
    func chopped(_ number: String, _ chops: Chops) -> AutobahnCase {
        var copy = self
        copy.number = number
        copy.chops = chops
        return copy
    }

    /// The bytes that a text of hexadecimal numbers names.
    static func hex(_ text: String) -> Bytes {
        let digits = text.filter { $0 != " " }
        return stride(from: 0, to: digits.count, by: 2).map { at in
            let start = digits.index(digits.startIndex, offsetBy: at)
            return UInt8(digits[start..<digits.index(start, offsetBy: 2)], radix: 16) ?? 0
        }
    }
}
