import Glibc

/// Free ports of the loopback, below those that connections get: for programs that cannot choose one themselves.
package struct Ports {
    private var next = Int.random(in: 10_000..<30_000)

    package init() {}

    /// So many free ports in a row; gives the first.
    package mutating func take(_ count: Int = 1) throws -> Int {
        for _ in 0..<1_000 {
            if next + count > 32_000 { next = 10_000 }
            let first = next
            next += count
            if (first..<first + count).allSatisfy(Self.isFree) { return first }
        }
        throw Failure("no free ports")
    }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        address.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
        return withUnsafeBytes(of: &address) { bytes in
            guard let place = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return false }
            return bind(descriptor, place, socklen_t(bytes.count)) == 0
        }
    }
}
