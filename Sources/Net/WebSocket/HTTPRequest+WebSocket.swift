internal import CBeast

extension HTTPRequest {
    /// Whether the request asks for a WebSocket, well or badly: ``webSocketRefusal`` says which.
    public var asksForWebSocket: Bool {
        headers("Upgrade").contains { value in
            value.split(separator: ",").contains { $0.trimmed.lowercased() == "websocket" }
        }
    }

    /// The subprotocols that the client can speak, the one that it likes best first.
    public var webSocketProtocols: [String] {
        headers("Sec-WebSocket-Protocol").flatMap { $0.split(separator: ",") }.map { String($0.trimmed) }
    }

    /// The answer to a request that is no good handshake of a WebSocket, or comes from none of `origins` (see
    /// ``WebSocketConfiguration/origins``); `nil` if it is good. The server checks it too, when it opens one.
    ///
    /// 405 for another method than `GET`; 426 for a request that asks for no WebSocket, or for another version of it (with
    /// `Sec-WebSocket-Version`); 400 for what is malformed or missing; 403 for the origin.
    public func webSocketRefusal(origins: Set<String>? = nil) -> HTTPResponse? {
        var detail: UnsafePointer<CChar>?
        let status = Int(cb_exchange_websocket(pointer, &detail))
        if status != 0 { return Self.refusal(status, detail.map { String(cString: $0) } ?? "") }
        guard let origins, let origin = header("Origin"), !origins.contains(origin) else { return nil }
        return Self.refusal(403, "Pages of this origin may not open a WebSocket here.")
    }

    private static func refusal(_ status: Int, _ detail: String) -> HTTPResponse {
        let titles = [
            400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed", 426: "Upgrade Required",
            500: "Internal Server Error",
        ]
        var headers = [("Content-Type", "application/problem+json")]
        if status == 405 { headers.append(("Allow", "GET")) }
        if status == 426 { headers.append(("Sec-WebSocket-Version", "13")) }
        // None of the texts has a character that JSON would escape.
        let body = """
            {"type":"about:blank","title":"\(titles[status] ?? "")","status":\(status),"detail":"\(detail)"}
            """
        return HTTPResponse(status: status, headers: headers, body: Array(body.utf8))
    }

    /// Opens the WebSocket that was asked for; `nil` if the connection has ended, or the handshake is refused.
    func open(_ configuration: WebSocketConfiguration, _ subprotocol: String?, _ head: HTTPResponse, on loop: EventLoop)
        -> WebSocket?
    {
        if let refusal = webSocketRefusal(origins: configuration.origins) {
            answer(refusal)
            return nil
        }
        guard (try? configuration.validate()) != nil else {
            answer(Self.refusal(500, "The limits of this WebSocket cannot be used."))
            return nil
        }
        begin(head)
        var options = cb_websocket_options(configuration)
        var name = subprotocol ?? ""
        let opened = name.withUTF8 { cb_respond_websocket(pointer, &options, $0.baseAddress, $0.count) }
        return opened.map { WebSocket(adopting: $0, on: loop) }
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var part = self
        while let first = part.first, first == " " || first == "\t" { part.removeFirst() }
        while let last = part.last, last == " " || last == "\t" { part.removeLast() }
        return part
    }
}
