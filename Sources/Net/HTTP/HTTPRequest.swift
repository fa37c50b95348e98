internal import CBeast

/// A request, complete with its body.
///
/// It is valid for as long as it is held, also after its answer and after the end of its connection, and can be read on
/// any thread. Its parts are made when they are asked for: whoever needs one twice keeps it.
public final class HTTPRequest: Sendable {
    private let handle: ExchangeHandle

    init(adopting pointer: OpaquePointer) { handle = ExchangeHandle(pointer: pointer) }

    /// A request that came over no connection, for tests; `nil` if no server would take it.
    ///
    /// - Parameter head: the request line and the headers, each with its line end, and an empty line.
    package init?(head: String, body: [UInt8]) {
        var status: Int32 = 0
        var head = head
        let made = head.withUTF8 { head in
            body.withUnsafeBytes { cb_exchange_new(head.baseAddress, head.count, $0.baseAddress, $0.count, &status) }
        }
        guard let made else { return nil }
        handle = ExchangeHandle(pointer: made)
    }

    /// The method.
    public var method: HTTPMethod { HTTPMethod(cb_exchange_method(pointer).string) }

    /// The request target as it stands in the request line, not decoded: a path with its query, an absolute URI with the
    /// scheme `http` or `https`, or `*` of an `OPTIONS`. Bytes above ASCII that are not UTF-8 are replaced.
    public var target: String { cb_exchange_target(pointer).string }

    /// The request target's bytes: none is a control character or a space.
    public var targetBytes: [UInt8] { cb_exchange_target(pointer).array }

    /// Calls `body` with the request target's bytes, without a copy.
    public func withTarget<Result: ~Copyable, Failure: Error>(
        _ body: (borrowing RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let bytes = cb_exchange_target(pointer)
        return try body(RawSpan(_unsafeStart: UnsafeRawPointer(bytes.bytes), byteCount: bytes.count))
    }

    /// Whether the request is one of HTTP/1.0; otherwise it is one of HTTP/1.1.
    public var isHTTP10: Bool { cb_exchange_is_http10(pointer) }

    /// Whether the connection is encrypted. Always false: there is no TLS yet.
    public var isSecure: Bool { false }

    /// The client's address and port, as `127.0.0.1:50000` or `[::1]:50000`.
    public var remoteAddress: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            let count = cb_exchange_remote(pointer, buffer.baseAddress, buffer.count)
            return String(decoding: UnsafeRawBufferPointer(buffer).prefix(count), as: UTF8.self)
        }
    }

    /// The value of the first header of that name, in any case, without the white space around it; `nil` if there is none.
    public func header(_ name: String) -> String? {
        let index = find(name, from: 0)
        return index < 0 ? nil : cb_exchange_header_value(pointer, index).string
    }

    /// The values of all headers of that name, in any case and in their order.
    public func headers(_ name: String) -> [String] {
        var values: [String] = []
        var index = find(name, from: 0)
        while index >= 0 {
            values.append(cb_exchange_header_value(pointer, index).string)
            index = find(name, from: index + 1)
        }
        return values
    }

    /// All headers, in their order.
    public var headers: [(name: String, value: String)] {
        (0..<cb_exchange_header_count(pointer)).map {
            (cb_exchange_header_name(pointer, $0).string, cb_exchange_header_value(pointer, $0).string)
        }
    }

    /// How many bytes the body has; 0 without one.
    public var bodyCount: Int { cb_exchange_body(pointer).count }

    /// The body, copied.
    public var body: [UInt8] { cb_exchange_body(pointer).array }

    /// Calls `body` with the body's bytes, without a copy.
    public func withBody<Result: ~Copyable, Failure: Error>(
        _ body: (borrowing RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let bytes = cb_exchange_body(pointer)
        return try body(RawSpan(_unsafeStart: UnsafeRawPointer(bytes.bytes), byteCount: bytes.count))
    }

    var pointer: OpaquePointer { handle.pointer }

    private func find(_ name: String, from index: Int) -> Int {
        var name = name
        return name.withUTF8 { utf8 in
            // SIZE_MAX, for none, comes over as -1.
            cb_exchange_find(pointer, utf8.baseAddress, utf8.count, index)
        }
    }

    /// Writes the answer. On the thread of the connection's loop, once.
    func answer(_ response: borrowing HTTPResponse) {
        begin(response)
        response.body.withUnsafeBytes { cb_respond_end(pointer, $0.baseAddress, $0.count) }
    }

    /// Writes the head of the answer, to the end of the handler's headers.
    func begin(_ response: borrowing HTTPResponse) {
        cb_respond_begin(pointer, Int32(clamping: response.status))
        for header in response.headers {
            var (name, value) = header
            name.withUTF8 { name in
                value.withUTF8 { value in
                    cb_respond_header(pointer, name.baseAddress, name.count, value.baseAddress, value.count)
                }
            }
        }
    }
}

/// Owns one reference to a request of the C side.
private struct ExchangeHandle: ~Copyable, @unchecked Sendable {
    // What is read of it never changes once the request is complete, and its count of references is atomic.
    let pointer: OpaquePointer

    deinit { cb_exchange_release(pointer) }
}

extension cb_bytes {
    fileprivate var buffer: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: bytes, count: count) }
    fileprivate var string: String { String(decoding: buffer, as: UTF8.self) }
    fileprivate var array: [UInt8] { [UInt8](buffer) }
}
