internal import Glibc

/// Why a file could not be read.
struct FileProblem: Error {
    var message: String
}

/// Small files, read whole and bounded.
enum FileBytes {
    /// The bytes of the file at `path`, which may be a pipe too (`--config <(…)`).
    ///
    /// - Throws: `FileProblem` if it cannot be read, is a folder, or is longer than `limit` bytes.
    static func read(_ path: String, limit: Int) throws(FileProblem) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileProblem(message: "cannot be opened: \(reason(errno))") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            // Foundation reads a file of any size; this must not.
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileProblem(message: "cannot be read: \(reason(errno))") }
            if count == 0 { return bytes }
            bytes += chunk.prefix(count)
            guard bytes.count <= limit else {
                throw FileProblem(message: "is longer than \(ByteCount(limit))")
            }
        }
    }

    /// glibc's `strerror` is safe on any thread (its buffer belongs to the thread).
    private static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }
}
