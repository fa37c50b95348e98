internal import AffinityBenchmarkSupport
internal import CRocksDB

/// What RocksDB itself does when it is asked for what the log asks of it: synced writes of groups of records, in a loop
/// of C calls with nothing around it. It bounds every durable write.
@main enum SyncedWrites {
    static func main() {
        let arguments = Arguments("data", "group", "seconds")
        let group = arguments.number("group", default: 64)
        let seconds = arguments.number("seconds", default: 3)
        let database = open(arguments.text("data", default: "data"))
        var changelog = Changelog()
        let clock = ContinuousClock()
        let start = clock.now
        var elapsed = Duration.zero
        while elapsed < .seconds(seconds) {
            changelog.fill(group)
            check(crocks_write(database, changelog.batch, true, true))
            elapsed = clock.now - start
        }
        printFigure("synced/\(group)", Double(changelog.count) / (elapsed / .seconds(1)), "/s")
        check(crocks_close(database))
    }

    /// With the options of `LocalLog`.
    private static func open(_ path: String) -> OpaquePointer? {
        let options = crocks_options(
            create: true, read_only: false, compress: true, bloom_bits: 0, max_open_files: 256,
            write_buffer_bytes: 32 << 20,
            file_bytes: 64 << 20, max_wal_bytes: 128 << 20, background_jobs: 2, wal_recovery: crocks_wal_tail,
            compact_deletions: true, ascending_prefix: 5)
        var status = crocks_status()
        let database = crocks_open(path, options, crocks_shared_create(128 << 20, 128 << 20), &status)
        check(status)
        return database
    }

    private static func check(_ status: crocks_status) {
        guard status.code != crocks_ok else { return }
        fatalError(status.message.map { String(cString: $0) } ?? "a call of RocksDB failed")
    }
}

/// Records of the size that the log writes for a PUT of a key of 12 bytes and a value of 100.
private struct Changelog {
    let batch = crocks_batch_create()
    private(set) var count = 0
    /// Area and id of the changelog, and the offset.
    private var key: [UInt8] = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    /// Checksum, layout, append time; key; value; the headers `affinity` and `t`: see `RecordCodec`.
    private static let recordBytes = (4 + 1 + 8) + (4 + 12) + (1 + 4 + 100) + (1 + 8 + 4 + 29) + (1 + 1 + 4 + 8)
    /// What the records are cut from.
    private let noise: [UInt8]

    init() {
        var random = SplitMix(seed: 1)
        noise = (0..<1 << 16).map { _ in UInt8.random(in: .min ... .max, using: &random) }
    }

    /// Puts the next records into the batch.
    mutating func fill(_ group: Int) {
        crocks_batch_clear(batch)
        for _ in 0..<group {
            for byte in 0..<8 { key[5 + byte] = UInt8(truncatingIfNeeded: count >> (56 - 8 * byte)) }
            // Not the same bytes each time: they are compressed when they are moved to a file.
            let place = count &* 7_919 % (noise.count - Self.recordBytes)
            count += 1
            key.withUnsafeBufferPointer { key in
                noise.withUnsafeBufferPointer { noise in
                    let key = crocks_bytes(data: key.baseAddress, size: key.count)
                    let record = crocks_bytes(data: noise.baseAddress! + place, size: Self.recordBytes)
                    crocks_batch_put(batch, crocks_bytes(), key, crocks_bytes(), record)
                }
            }
        }
    }
}
