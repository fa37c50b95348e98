package import AffinityCore
internal import AffinityThreads

/// Reads the topics of a system in a Kafka cluster as a node does, and changes nothing.
package final class KafkaLogReader: ChangelogReader {
    private let configuration: KafkaLogConfiguration
    private let client: KafkaClient
    /// What is being fetched, and what the next record will have for an offset or a later one.
    private var fetch: (place: KafkaPlace, next: Offset, fetch: KafkaFetch)?
    private let arrived = Semaphore()

    /// Starts a consumer; it connects in the background.
    ///
    /// - Parameters:
    ///   - configuration: how the cluster is talked to. Partitions are asked for, and need not be in it.
    ///   - report: called on any thread.
    /// - Throws: `shape` if a property will not do.
    package init(_ configuration: KafkaLogConfiguration, report: @escaping Reporter) throws(LogError) {
        self.configuration = configuration
        // Nobody waits for the end of the client, whose process ends soon.
        client = try KafkaClient(.consumer, configuration.consumer, KafkaDisposal(.inline), report: report)
    }

    package func changelogs() throws(LogError) -> [ReadableChangelog] {
        let prefix = "\(configuration.system)."
        var places: [(place: KafkaPlace, partition: PartitionID, store: String)] = []
        for topic in try client.topics(beginning: prefix, within: configuration.patience) {
            // Neither systems nor keyspaces have dots in their names; stores may.
            let parts = topic.name.dropFirst(prefix.count).split(separator: ".", maxSplits: 1)
            guard parts.count == 2 else { continue }
            for number in 0..<topic.partitions {
                let partition = PartitionID(keyspace: String(parts[0]), number: number)
                places.append(
                    (KafkaPlace(topic: topic.name, partition: Int32(clamping: number)), partition, String(parts[1])))
            }
        }
        let first = try client.offsets(.first, of: places.map(\.place), within: configuration.patience)
        let ends = try client.offsets(.end, of: places.map(\.place), within: configuration.patience)
        var all: [ReadableChangelog] = []
        for (index, (_, partition, store)) in places.enumerated() {
            let (first, end) = (try first[index].get(), try ends[index].get())
            all.append(ReadableChangelog(partition: partition, store: store, bounds: first..<max(first, end)))
        }
        return all.sorted(by: ReadableChangelog.isInOrder)
    }

    package func read(
        _ changelog: ReadableChangelog, from offset: Offset, maxBytes: Int
    ) throws(LogError) -> LogPage {
        let topic = "\(configuration.system).\(changelog.partition.keyspace).\(changelog.store)"
        let place = KafkaPlace(topic: topic, partition: Int32(clamping: changelog.partition.number))
        let end = changelog.bounds.upperBound
        var page = LogPage(records: [], next: offset, end: end)
        guard offset < end else { return page }
        let fetch = try self.fetch(place, from: offset)
        var (bytes, failure) = (0, LogError?.none)
        var limit = ContinuousClock.now + configuration.patience
        while page.next < end, bytes < maxBytes {
            var isAny = false
            fetch.take { item in
                isAny = true
                switch item {
                case .record(let record):
                    page.next = record.offset.next
                    bytes += record.record.key.count + (record.record.value?.count ?? 0) + 64
                    if record.offset < end { page.records.append(record) }
                // Nothing more can be read: what stands before the end are markers, or a transaction that is open.
                case .end: page.next = end
                case .failure(let error): failure = failure ?? error
                }
            }
            if let failure { throw failure }
            if isAny {
                limit = .now + configuration.patience
            } else if limit < .now {
                throw LogError(.io, "\(place): no records came within \(configuration.patience)")
            } else {
                arrived.wait(atMost: .milliseconds(250))
            }
        }
        self.fetch = (place, page.next, fetch)
        return page
    }

    /// Goes on with what is being fetched, or begins there.
    private func fetch(_ place: KafkaPlace, from offset: Offset) throws(LogError) -> KafkaFetch {
        if let fetch, fetch.place == place, fetch.next == offset { return fetch.fetch }
        fetch = nil
        return try KafkaFetch(client, place, from: offset) { [arrived] in arrived.signal() }
    }
}
