import AffinityTestSupport
import Foundation
import Glibc

/// A file system of a few MiB in memory, gone with the value. `nil` where the test must not mount.
final class SmallDisk: Sendable {
    let path: String

    init?(_ path: String, mebibytes: Int) {
        self.path = path
        mkdir(path, 0o755)
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(mebibytes)m") == 0 else {
            print("skipped: no file system can be mounted here: \(String(cString: strerror(errno)))")
            return nil
        }
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }

    func makeReadOnly() throws {
        guard mount("tmpfs", path, "tmpfs", UInt(MS_REMOUNT | MS_RDONLY), nil) == 0 else {
            throw Failure("remount: \(errno)")
        }
    }

    /// Takes all space but `kibibytes`.
    func fill(leaving kibibytes: Int) throws {
        let file = open(path + "/filler", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw Failure("filler: \(errno)") }
        defer { close(file) }
        let free = try freeBytes() - kibibytes << 10
        if free > 0, posix_fallocate(file, 0, free) != 0 { throw Failure("filler of \(free) bytes: \(errno)") }
    }

    func free() { unlink(path + "/filler") }

    func freeBytes() throws -> Int {
        var facts = statvfs()
        guard statvfs(path, &facts) == 0 else { throw Failure("statvfs: \(errno)") }
        return Int(facts.f_bavail) * Int(facts.f_bsize)
    }
}
