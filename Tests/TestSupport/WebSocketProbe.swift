/// A WebSocket client that sends the frames, or bytes, that it is told to, and reads frames: blocking.
///
/// It knows nothing of what is allowed: that is for its users to see.
package final class WebSocketProbe {
    /// A frame as it came.
    package struct Frame: Equatable, CustomStringConvertible {
        package var isFinal = true
        package var isMarked = false  // RSV1: deflated
        package var opcode: UInt8
        package var payload: [UInt8]

        package init(_ opcode: UInt8, _ payload: [UInt8] = []) {
            self.opcode = opcode
            self.payload = payload
        }

        package static func text(_ text: String) -> Frame { Frame(1, Array(text.utf8)) }
        package static func binary(_ bytes: [UInt8]) -> Frame { Frame(2, bytes) }
        package static func ping(_ bytes: [UInt8]) -> Frame { Frame(9, bytes) }
        package static func pong(_ bytes: [UInt8]) -> Frame { Frame(10, bytes) }
        package static func close(_ code: Int?, _ reason: String = "") -> Frame {
            Frame(8, code.map { [UInt8($0 >> 8 & 0xFF), UInt8($0 & 0xFF)] + Array(reason.utf8) } ?? [])
        }

        /// The code of a close frame.
        package var closeCode: Int? {
            opcode == 8 && payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil
        }
        package var text: String { String(decoding: payload, as: UTF8.self) }
        package var description: String {
            "\(opcode)\(isFinal ? "" : "…")\(isMarked ? "z" : "") \(payload.count): \(payload.prefix(60))"
        }
    }

    /// The connection under it.
    package let http: HTTPClient
    /// The server's answer to the handshake.
    package let answer: HTTPClient.Answer

    /// Opens a WebSocket over the loopback.
    package init(
        port: Int, _ target: String = "/", _ headers: [(String, String)] = [], timeout: Int = 60,
        receiveBuffer: Int32? = nil
    ) throws {
        http = try HTTPClient(port: port, timeout: timeout, receiveBuffer: receiveBuffer)
        try http.send(Self.handshake(target, headers))
        answer = try http.answer()
        guard answer.status == 101 else { throw Failure("no WebSocket: \(answer)") }
    }

    /// The bytes of a good handshake, with more headers.
    package static func handshake(_ target: String = "/", _ headers: [(String, String)] = []) -> [UInt8] {
        HTTPClient.request(
            "GET", Array(target.utf8),
            [
                ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ] + headers)
    }

    /// The bytes of a frame; `bits` are set in its first byte on top.
    package static func bytes(
        _ opcode: UInt8, _ payload: [UInt8] = [], final: Bool = true, bits: UInt8 = 0, masked: Bool = true
    ) -> [UInt8] {
        var bytes = [(final ? 0x80 : 0) | bits | opcode]
        let mask: UInt8 = masked ? 0x80 : 0
        switch payload.count {
        case ..<126: bytes.append(mask | UInt8(payload.count))
        case ..<65536: bytes += [mask | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default:
            bytes.append(mask | 127)
            bytes += (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (8 * (7 - $0))) }
        }
        guard masked else { return bytes + payload }
        // With this key nothing changes, which takes less time than a long loop.
        if payload.count > 4096 { return bytes + [0, 0, 0, 0] + payload }
        let key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
        bytes += key
        bytes.reserveCapacity(bytes.count + payload.count)
        for (index, byte) in payload.enumerated() { bytes.append(byte ^ key[index & 3]) }
        return bytes
    }

    /// Sends a frame, masked.
    package func send(_ opcode: UInt8, _ payload: [UInt8] = [], final: Bool = true, bits: UInt8 = 0) throws {
        try http.send(Self.bytes(opcode, payload, final: final, bits: bits))
    }

    /// Sends a frame, masked.
    package func send(_ frame: Frame) throws {
        try send(frame.opcode, frame.payload, final: frame.isFinal, bits: frame.isMarked ? 0x40 : 0)
    }

    /// The next frame.
    package func frame() throws -> Frame {
        let head = try http.bytes(2)
        guard head[1] & 0x80 == 0 else { throw Failure("a server's frame is masked") }
        guard head[0] & 0x30 == 0 else { throw Failure("reserved bits") }
        var count = Int(head[1])
        if count >= 126 {
            let bytes = try http.bytes(count == 126 ? 2 : 8)
            count = bytes.reduce(0) { $0 << 8 | Int($1) }
            guard count >= 126, bytes.count == 2 || count >= 65536 else { throw Failure("no shortest length") }
        }
        var frame = Frame(head[0] & 0x0F, try http.bytes(count))
        frame.isFinal = head[0] & 0x80 != 0
        frame.isMarked = head[0] & 0x40 != 0
        return frame
    }

    /// The next frame that is not a ping.
    package func frameButPings() throws -> Frame {
        while true {
            let frame = try frame()
            if frame.opcode != 9 { return frame }
        }
    }

    /// The code of the close frame that comes next and the end behind it; 1005 for one without.
    package func closeCode() throws -> Int {
        let frame = try frameButPings()
        guard frame.opcode == 8 else { throw Failure("no close frame: \(frame)") }
        guard try http.isAtEnd() else { throw Failure("something behind a close frame") }
        return frame.closeCode ?? 1005
    }
}
