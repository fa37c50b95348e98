import Foundation
import Glibc

/// A second descriptor of a file that this process has open, as a process has that is forked from it; `nil` if none is open.
package func duplicateDescriptor(of path: String) throws -> Int32? {
    for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
        guard (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(name)")) == path,
            let descriptor = Int32(name)
        else { continue }
        return fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
    }
    return nil
}
