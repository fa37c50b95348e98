internal import AffinityCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The folder of a log and its lock. All calls block.
struct Folder: ~Copyable {
    let path: String
    /// Holds the lock for as long as it is open.
    private let lock: Int32

    /// Makes the folder where there is none, and locks it.
    ///
    /// The lock comes before everything else: what another process is writing must not be taken for damage.
    init(_ path: String) throws(LogError) {
        self.path = path
        try Self.make(path)
        let file = open("\(path)/in-use", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        if file < 0 { throw Self.error("\(path)/in-use") }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let isLocked = errno == EWOULDBLOCK
            let error = Self.error("\(path)/in-use")
            close(file)
            throw isLocked ? LogError(.io, "\(path): in use by another process, or opened twice by this one") : error
        }
        lock = file
    }

    // Closing alone would not release it while a process that was forked meanwhile, and has not yet begun a program of its
    // own, still has the open file.
    deinit {
        flock(lock, LOCK_UN)
        close(lock)
    }

    /// The bytes of a file; `nil` if there is none.
    func read(_ name: String) throws(LogError) -> [UInt8]? {
        let file = open("\(path)/\(name)", O_RDONLY | O_CLOEXEC)
        if file < 0 {
            if errno == ENOENT { return nil }
            throw Self.error("\(path)/\(name)")
        }
        defer { close(file) }
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Self.retry { Glibc.read(file, &buffer, buffer.count) }
            if count < 0 { throw Self.error("\(path)/\(name)") }
            if count == 0 { return all }
            all += buffer[..<count]
        }
    }

    /// Writes a file so that after a crash it is whole or not there.
    func write(_ name: String, _ bytes: [UInt8]) throws(LogError) {
        let draft = "\(path)/\(name).new"
        let file = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        if file < 0 { throw Self.error(draft) }
        var done = 0
        while done < bytes.count {
            let count = Self.retry {
                bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress! + done, bytes.count - done) }
            }
            if count <= 0 { break }
            done += count
        }
        let isGood = done == bytes.count && fsync(file) == 0
        let error = Self.error(draft)
        close(file)
        guard isGood else { throw error }
        guard rename(draft, "\(path)/\(name)") == 0 else { throw Self.error("\(path)/\(name)") }
        try sync()
    }

    /// Removes a file, durably.
    func remove(_ name: String) throws(LogError) {
        guard unlink("\(path)/\(name)") == 0 || errno == ENOENT else { throw Self.error("\(path)/\(name)") }
        try sync()
    }

    /// The files of the folder `name` in this folder, with their sizes, sorted; empty if there is no such folder.
    func sizes(_ name: String) -> [(name: String, size: Int64)] {
        guard let handle = opendir("\(path)/\(name)") else { return [] }
        defer { closedir(handle) }
        var found: [(name: String, size: Int64)] = []
        while let entry = readdir(handle) {
            let file = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            var facts = stat()
            guard stat("\(path)/\(name)/\(file)", &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else { continue }
            found.append((file, Int64(facts.st_size)))
        }
        return found.sorted { $0.name < $1.name }
    }

    private func sync() throws(LogError) {
        let file = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if file < 0 { throw Self.error(path) }
        let isGood = fsync(file) == 0
        let error = Self.error(path)
        close(file)
        if !isGood { throw error }
    }

    private static func make(_ path: String) throws(LogError) {
        if mkdir(path, 0o755) == 0 { return }
        if errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try make(String(path[..<slash]))
            if mkdir(path, 0o755) == 0 { return }
        }
        let error = Self.error(path)
        var facts = stat()
        guard stat(path, &facts) == 0 else { throw error }
        guard facts.st_mode & S_IFMT == S_IFDIR else { throw LogError(.io, "\(path): a file, not a folder") }
    }

    private static func retry(_ call: () -> Int) -> Int {
        while true {
            let result = call()
            if result >= 0 || errno != EINTR { return result }
        }
    }

    /// What the operating system said last.
    private static func error(_ path: String) -> LogError {
        let code = errno
        return LogError(code == ENOSPC || code == EDQUOT ? .full : .io, "\(path): \(String(cString: strerror(code)))")
    }
}
