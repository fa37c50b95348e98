import AffinityTestSupport
import Glibc

/// Free ports of the loopback, below those that connections get.
struct Ports {
    private var next = Int.random(in: 10_000..<30_000)

    /// So many free ports in a row; gives the first.
    mutating func take(_ count: Int = 1) throws -> Int {
        for _ in 0..<1_000 {
            if next + count > 32_000 { next = 10_000 }
            let first = next
            next += count
            if (first..<first + count).allSatisfy(Self.isFree) { return first }
        }
        throw Failure("no free ports")
    }

    private static func isFree(_ port: Int) -> Bool {
        guard let descriptor = try? Loopback.listen(port) else { return false }
        close(descriptor)
        return true
    }
}

/// Sockets of the loopback.
enum Loopback {
    static func listen(_ port: Int) throws -> Int32 {
        let descriptor = try open()
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        guard withAddress(port, { bind(descriptor, $0, $1) }) == 0, Glibc.listen(descriptor, 128) == 0 else {
            let error = errno
            close(descriptor)
            throw Failure("port \(port): \(String(cString: strerror(error)))")
        }
        return descriptor
    }

    static func connect(_ port: Int) throws -> Int32 {
        let descriptor = try open()
        guard withAddress(port, { Glibc.connect(descriptor, $0, $1) }) == 0 else {
            let error = errno
            close(descriptor)
            throw Failure("port \(port): \(String(cString: strerror(error)))")
        }
        setNoDelay(descriptor)
        return descriptor
    }

    /// The next connection; negative where there is none.
    static func accept(_ listener: Int32) -> Int32 { acceptWithFlags(listener, nil, nil, Int32(SOCK_CLOEXEC.rawValue)) }

    private typealias Accept =
        @convention(c) (
            Int32, UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, Int32
        ) -> Int32

    /// `accept4`, which Swift's headers do not show: nothing else keeps a program that is started at the same moment
    /// from inheriting the connection.
    private static let acceptWithFlags = unsafeBitCast(dlsym(nil, "accept4"), to: Accept.self)

    static func setNoDelay(_ descriptor: Int32) {
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    }

    /// A socket that the programs which are started do not inherit.
    private static func open() throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("socket: \(String(cString: strerror(errno)))") }
        return descriptor
    }

    private static func withAddress(_ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return withUnsafeBytes(of: &address) {
            guard let start = $0.baseAddress else { return -1 }
            return body(start.assumingMemoryBound(to: sockaddr.self), socklen_t($0.count))
        }
    }
}
