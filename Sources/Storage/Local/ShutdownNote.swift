internal import AffinityCore
internal import AffinityRocksDB

/// What a log notes when it is closed properly: its files with their sizes, and where each changelog ends.
///
/// A crash may tear the last write off, and nobody can tell whether it was ever acknowledged; so a shorter log is
/// accepted then. After a proper close there is no such excuse, and the note finds out what was cut off since, before
/// anything is touched. It is removed before the first record is taken.
struct ShutdownNote {
    static let fileName = "closed"
    private static let firstLine = "affinity log closed 1"

    var files: [(name: String, size: Int64)] = []
    var ends: [(id: UInt32, end: Offset)] = []

    /// The note of a database that is closed now and whose changelogs ended there.
    init(files: [(name: String, size: Int64)], ends: [(id: UInt32, end: Offset)]) {
        // Not the log lines that RocksDB writes for people.
        self.files = files.filter {
            $0.name.hasSuffix(".log") || $0.name.hasSuffix(".sst") || $0.name.hasPrefix("MANIFEST-")
                || $0.name == "CURRENT"
        }
        self.ends = ends
    }

    /// The text of the file; its last line is a checksum.
    var bytes: [UInt8] {
        var text = Self.firstLine + "\n"
        for file in files { text += "file \(file.name) \(file.size)\n" }
        for end in ends { text += "end \(end.id) \(end.end)\n" }
        let body = Array(text.utf8)
        return body + Array("sum \(body.withUnsafeBytes { CRC32C.checksum($0) })\n".utf8)
    }

    /// Reads a note; `nil` if the bytes are not one.
    init?(_ bytes: [UInt8]) {
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        guard lines.count >= 2, lines[0] == Self.firstLine, let last = lines.last else { return nil }
        let body = bytes.dropLast(last.utf8.count + 1)
        guard last == "sum \(body.withUnsafeBytes { CRC32C.checksum($0) })" else { return nil }
        for line in lines[1..<lines.count - 1] {
            let parts = line.split(separator: " ")
            guard parts.count == 3, let number = Int64(parts[2]) else { return nil }
            if parts[0] == "file" { files.append((String(parts[1]), number)) }
            if parts[0] == "end", let id = UInt32(parts[1]) { ends.append((id, Offset(number))) }
        }
    }

    /// Compares the files with what they were.
    func check(_ found: [(name: String, size: Int64)], in folder: String) throws(LogError) {
        let sizes = Dictionary(found.map { ($0.name, $0.size) }) { first, _ in first }
        for file in files where sizes[file.name] != file.size {
            let now = sizes[file.name].map { "has \($0) bytes" } ?? "is missing"
            throw LogError(
                .corrupt,
                "\(folder)/\(file.name) \(now), but had \(file.size) when the log was closed; nothing was changed")
        }
    }

    /// Compares the ends of the changelogs with what they were.
    func check(_ database: RocksDB) throws {
        for end in ends {
            let now = try database.numbers(LogSchema.endKey(end.id), count: 1)?[0] ?? 0
            guard now < end.end.rawValue else { continue }
            let name = try database.changelogs().first { $0.id == end.id }.map { LogSchema.describe($0.name) }
            throw LogError(
                .corrupt,
                "\(database.path): the log of \(name ?? "changelog \(end.id)") ends at \(now), but it was closed at "
                    + "\(end.end)")
        }
    }
}
