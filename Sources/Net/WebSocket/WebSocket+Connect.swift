internal import AffinityCore
internal import CBeast

extension WebSocket {
    /// Opens a WebSocket (`ws:`) to a server. Called on `loop`, where it lives.
    ///
    /// - Parameters:
    ///   - target: the request target.
    ///   - subprotocols: what can be spoken, the best first.
    ///   - headers: more headers of the request, `Origin` for one.
    ///   - limit: for everything: to resolve, to connect, and for the answer.
    /// - Throws: ``NetError`` if no connection came about, or the server does not open one.
    package nonisolated(nonsending) static func connect(
        _ host: String, _ port: Int, _ target: String = "/", on loop: EventLoop,
        configuration: WebSocketConfiguration = WebSocketConfiguration(), subprotocols: [String] = [],
        headers: [(name: String, value: String)] = [], within limit: Duration = .seconds(10),
        by resolver: NameResolver = NameResolver()
    ) async throws(NetError) -> WebSocket {
        loop.checkIsolated()
        try configuration.validate()
        let handshake = ClientHandshake(TCPStream(on: loop), configuration)
        let request = handshake.request(host, port, target, subprotocols, headers)
        let result = await withUnsafeContinuation { continuation in
            handshake.begin(request, continuation)
            loop.schedule(at: SystemClock().monotonic.advanced(by: limit)) { [weak handshake] in handshake?.giveUp() }
            handshake.stream.connect(host, port, within: limit, by: resolver, owner: handshake)
        }
        return try result.get()
    }
}

/// A client's opening handshake, until the server has answered.
///
/// Unchecked, because it is touched on the thread of its stream's loop only.
private final class ClientHandshake: TCPStreamOwner, @unchecked Sendable {
    typealias Outcome = Result<WebSocket, NetError>
    private static let answerLimit = 16 * 1024

    let stream: TCPStream
    private let configuration: WebSocketConfiguration
    private let key: String
    private var request: [UInt8] = []
    private var received: [UInt8] = []
    private var continuation: UnsafeContinuation<Outcome, Never>?

    init(_ stream: TCPStream, _ configuration: WebSocketConfiguration) {
        self.stream = stream
        self.configuration = configuration
        key = String(unsafeUninitializedCapacity: 24) { bytes in
            bytes.withMemoryRebound(to: CChar.self) { cb_websocket_key($0.baseAddress) }
            return 24
        }
    }

    func request(
        _ host: String, _ port: Int, _ target: String, _ subprotocols: [String],
        _ headers: [(name: String, value: String)]
    ) -> [UInt8] {
        var options = cb_websocket_options(configuration)
        var fields = [
            ("Host", host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"), ("Upgrade", "websocket"),
            ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key),
        ]
        if !subprotocols.isEmpty { fields.append(("Sec-WebSocket-Protocol", subprotocols.joined(separator: ", "))) }
        let offer = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            let count = cb_websocket_offer(&options, buffer.baseAddress, buffer.count)
            return String(decoding: UnsafeRawBufferPointer(buffer).prefix(count), as: UTF8.self)
        }
        if !offer.isEmpty { fields.append(("Sec-WebSocket-Extensions", offer)) }
        fields += headers.map { ($0.name, $0.value) }
        let lines = fields.map { "\($0.0): \($0.1)\r\n" }.joined()
        return Array("GET \(target) HTTP/1.1\r\n\(lines)\r\n".utf8)
    }

    func begin(_ request: [UInt8], _ continuation: UnsafeContinuation<Outcome, Never>) {
        self.request = request
        self.continuation = continuation
    }

    func giveUp() { fail(NetError(.timedOut, "the server did not open a WebSocket in time")) }

    func streamOpened() {
        _ = stream.append(request.count) { $0.copyBytes(from: request) }
    }

    func streamReceived(_ bytes: UnsafeRawBufferPointer) {
        received += bytes
        guard let end = received.firstRange(of: [13, 10, 13, 10])?.upperBound else {
            if received.count > Self.answerLimit { fail(NetError(.system, "the server's answer is too long")) }
            return
        }
        var options = cb_websocket_options(configuration)
        var status: Int32 = 0
        var detail: UnsafePointer<CChar>?
        let opened = received.withUnsafeBytes { all in
            let (head, rest) = (all[..<end], all[end...])
            return stream.withPointer { stream in
                cb_websocket_adopt(
                    stream, &options, key, head.baseAddress, head.count, rest.baseAddress, rest.count, &status, &detail)
            }
        }
        guard let opened else {
            let why = detail.map { String(cString: $0) } ?? ""
            return fail(NetError(.refused, status == 0 ? why : "\(why) Status: \(status)", underlying: 0))
        }
        finish(.success(WebSocket(adopting: opened, on: stream.loop)))
    }

    func streamDrained() {}

    func streamClosed(_ error: NetError?) {
        finish(.failure(error ?? NetError(.closed, "the server closed the connection")))
    }

    private func fail(_ error: NetError) {
        finish(.failure(error))
        stream.close()
    }

    private func finish(_ outcome: Outcome) { continuation.take()?.resume(returning: outcome) }
}

extension Slice<UnsafeRawBufferPointer> {
    fileprivate var baseAddress: UnsafeRawPointer? { UnsafeRawBufferPointer(rebasing: self).baseAddress }
}
