package import AffinityCore
internal import Glibc

/// The exclusive right to a folder, held by `flock(2)` on the file `LOCK` in it.
///
/// The kernel takes it back when the process ends, however it ends, so a crash leaves nothing to clean up; the file
/// itself stays. It excludes a second holder within one process too.
package struct FolderLock: ~Copyable {
    private let descriptor: Int32

    /// Locks the folder, which exists, and writes this process's number into the file for whoever comes second.
    ///
    /// - Throws: `CoordinatorError`: `.inUse` if somebody has it, `.io` if the file cannot be opened.
    package init(folder: String) throws(CoordinatorError) {
        let path = "\(folder)/LOCK"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw Files.failure("\(path) cannot be opened") }
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            if errno == EINTR { continue }
            let isHeld = errno == EWOULDBLOCK
            let failure = Files.failure("\(path) cannot be locked")
            let holder = Self.holder(descriptor)
            close(descriptor)
            throw isHeld ? CoordinatorError(.inUse, "the folder \(folder) is in use by \(holder)") : failure
        }
        self.descriptor = descriptor
        // Only for the message that a second process gives; without it the lock is as good.
        let text = Array("\(getpid())\n".utf8)
        if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, text, text.count, 0) }
    }

    // Closing alone would not release it while a process that was forked meanwhile, and has not yet begun a program of its
    // own, still has the open file.
    deinit {
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }

    /// Between the lock and the number there is a moment in which the file is empty, or has a former holder's.
    private static func holder(_ descriptor: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        let digits = bytes.prefix(max(0, count)).prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
        return digits.isEmpty ? "another process" : "process \(String(decoding: digits, as: UTF8.self))"
    }
}
