internal import Foundation

/// Remembers how many partitions each keyspace of a data folder was made with: with another number, keys would be
/// looked for where they are not.
struct DataLayout {
    private let path: String

    init(folder: String) { path = folder + "/keyspaces.json" }

    /// Compares with what is remembered, and remembers what is new. Blocks; runs where the folder is locked.
    ///
    /// - Throws: `NodeError` if a keyspace has another number of partitions, or the file cannot be read or written.
    func check(_ keyspaces: [(name: String, partitions: Int)]) throws {
        var known: [String: Int] = [:]
        if FileManager.default.fileExists(atPath: path) {
            do {
                known = try JSONDecoder().decode([String: Int].self, from: Data(contentsOf: URL(fileURLWithPath: path)))
            } catch { throw NodeError(.layout, "\(path) cannot be read: \(error)") }
        }
        let before = known
        for (name, partitions) in keyspaces {
            let former = known[name] ?? partitions
            guard former == partitions else {
                throw NodeError(
                    .layout,
                    "keyspaces.\(name).partitions is \(partitions), but \(path) says that the keyspace was made with "
                        + "\(former); the number cannot be changed")
            }
            known[name] = partitions
        }
        guard known != before else { return }
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
            try encoder.encode(known).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch { throw NodeError(.io, "\(path) cannot be written: \(error)") }
    }
}
