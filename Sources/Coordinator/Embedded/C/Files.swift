internal import AffinityCore
internal import Glibc

/// Small files, written so that a crash leaves the old content or the new one. Everything here blocks.
enum Files {
    /// Makes the folder and those above it, durably.
    static func makeFolder(_ path: String) throws(CoordinatorError) {
        if mkdir(path, 0o750) == 0 { return try syncFolder(parent(of: path)) }
        switch errno {
        case EEXIST: return try checkFolder(path)
        case ENOENT where parent(of: path) != path:
            try makeFolder(parent(of: path))
            guard mkdir(path, 0o750) == 0 || errno == EEXIST else { throw failure("\(path) cannot be made") }
            try syncFolder(parent(of: path))
        default: throw failure("\(path) cannot be made")
        }
    }

    /// The content of the file at `path`; `nil` if there is none.
    ///
    /// - Parameter limit: bytes beyond it are not read; a file that has them comes back `limit + 1` bytes long.
    static func read(_ path: String, limit: Int) throws(CoordinatorError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw failure("\(path) cannot be opened")
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: limit + 1)
        var count = 0
        while count < bytes.count {
            let more = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress! + count, $0.count - count)
            }
            if more < 0, errno == EINTR { continue }
            guard more >= 0 else { throw failure("\(path) cannot be read") }
            if more == 0 { break }
            count += more
        }
        return Array(bytes.prefix(count))
    }

    /// Replaces `folder/name`: a new file is written and synced, then renamed, then the folder is synced.
    static func replace(_ name: String, in folder: String, with bytes: [UInt8]) throws(CoordinatorError) {
        let path = "\(folder)/\(name)"
        let draft = "\(path).new"
        try writeDurably(bytes, to: draft)
        guard rename(draft, path) == 0 else { throw failure("\(path) cannot be replaced") }
        try syncFolder(folder)
    }

    /// An error of the kind `.io` that says what `errno` says.
    static func failure(_ what: String) -> CoordinatorError {
        // glibc's strerror is safe on any thread: its buffer belongs to the thread.
        CoordinatorError(.io, "\(what): \(String(cString: strerror(errno)))")
    }

    private static func writeDurably(_ bytes: [UInt8], to path: String) throws(CoordinatorError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw failure("\(path) cannot be made") }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("\(path) cannot be written") }
            rest = rest.dropFirst(count)
        }
        // After a failed fsync nobody knows what is on the disk; the next try begins with a new file.
        guard fsync(descriptor) == 0 else { throw failure("\(path) cannot be synced") }
    }

    private static func syncFolder(_ path: String) throws(CoordinatorError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("\(path) cannot be opened") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("\(path) cannot be synced") }
    }

    private static func checkFolder(_ path: String) throws(CoordinatorError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("\(path) cannot be used as a folder") }
        close(descriptor)
    }

    private static func parent(of path: String) -> String {
        guard let slash = path.utf8.dropLast().lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
