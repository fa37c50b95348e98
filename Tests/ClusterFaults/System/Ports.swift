import AffinityTestSupport
import Glibc

/// Free ports of the loopback, below those that connections get: for programs that cannot choose one themselves.
struct Ports {
    private var next = Int.random(in: 10_000..<30_000)

    /// So many free ports in a row; gives the first.
    mutating func take(_ count: Int = 1) throws -> Int {
        for _ in 0..<1_000 {
            if next + count > 32_000 { next = 10_000 }
            let first = next
            next += count
            // Somebody answers where a port is taken.
            if (first..<first + count).allSatisfy({ (try? HTTPClient(port: $0)) == nil }) { return first }
        }
        throw Failure("no free ports")
    }
}
