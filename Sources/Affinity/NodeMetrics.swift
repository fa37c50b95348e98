internal import AffinityCore
internal import AffinityNet
internal import AffinityObservability
internal import AffinityRocksDB
internal import AffinityRocksDBMemStore
internal import AffinityTransport

extension Node {
    /// Makes `/metrics` show what the node's parts count.
    func collectMetrics() {
        metrics.collect { [weak self] in await self?.families() ?? [] }
    }

    private func families() async -> [MetricFamily] {
        var families = [Build.family]
        for (name, figures) in await figures() { families += KeyspaceMetrics(name, figures, parts.clock).families }
        families += await parts.families()
        families.append(
            MetricFamily(
                "affinity_log_lines_dropped_total", .counter,
                "Log lines that were dropped because too many waited to be written.", Double(log.dropped)))
        return families
    }

    /// What a gateway and its server count.
    func collectMetrics(of gateway: HTTPGateway, _ server: HTTPServer, listener: String) {
        // Weakly: the gateway's routes hold the node.
        metrics.collect { [weak gateway, weak server] in
            guard let gateway, let server else { return [] }
            var open = MetricFamily("affinity_http_connections", .gauge, "Connections that are open.")
            var accepted = MetricFamily("affinity_http_connections_accepted_total", .counter, "Connections so far.")
            var refused = MetricFamily(
                "affinity_http_connections_refused_total", .counter, "Connections that were closed for being too many.")
            open.add(["listener": listener], server.openConnections)
            accepted.add(["listener": listener], server.acceptedConnections)
            refused.add(["listener": listener], server.refusedConnections)
            return gateway.families(listener, refusals: server.refusals) + [open, accepted, refused]
        }
    }
}

/// What was built.
enum Build {
    static var family: MetricFamily {
        var family = MetricFamily("affinity_build_info", .gauge, "Always 1; what was built, in its labels.")
        family.add(["version": version, "swift": swift, "configuration": configuration], 1)
        return family
    }

    /// Affinity's own.
    static let version = "0.1.0"

    private static var swift: String {
        #if compiler(>=6.4)
            "6.4 or later"
        #else
            "6.3"
        #endif
    }

    private static var configuration: String {
        #if DEBUG
            "debug"
        #else
            "release"
        #endif
    }
}

/// The metrics of one keyspace, of this node's replicas alone.
private struct KeyspaceMetrics {
    private let keyspace: String
    private let figures: ServiceFigures
    private let clock: any NodeClock

    init(_ keyspace: String, _ figures: ServiceFigures, _ clock: any NodeClock) {
        (self.keyspace, self.figures, self.clock) = (keyspace, figures, clock)
    }

    var families: [MetricFamily] { partitions + messages + log + forwarding }

    /// One number for each partition.
    private var partitions: [MetricFamily] {
        var roles = MetricFamily("affinity_partition_role", .gauge, "1 for what this node's replica is.")
        for replica in figures.replicas {
            for role in [ReplicaStatus.Role.master, .standby, .none] {
                roles.add(
                    ["keyspace": keyspace, "partition": number(replica), "role": role.rawValue],
                    role == replica.status.role ? 1 : 0)
            }
        }
        let now = clock.monotonic
        return [
            roles,
            each("affinity_partition_serving", .gauge, "Whether the replica runs commands and queries.") {
                $0.status.state == .serving ? 1 : 0
            },
            each("affinity_partition_epoch", .gauge, "The grant of the mastership that the replica knows of.") {
                Double($0.status.epoch.grant)
            },
            each("affinity_partition_lag_records", .gauge, "Records of the log that the replica has not applied.") {
                Double($0.status.position.lag(behind: $0.status.end))
            },
            each("affinity_partition_staleness_seconds", .gauge, "Since when a standby is not known to be level.") {
                $0.status.level.map { Double(now.nanoseconds &- $0.nanoseconds) / 1e9 }
            },
            each("affinity_commands_total", .counter, "Commands that ran, or were repeats of one that had.") {
                Double($0.counts.commands)
            },
            each("affinity_queries_total", .counter, "Queries that ran, those on standbys included.") {
                Double($0.counts.queries)
            },
            each("affinity_in_flight_commands", .gauge, "Commands that are on their way to the log.") {
                Double($0.status.inFlight)
            },
            each("affinity_in_flight_bytes", .gauge, "Bytes that are on their way to the log.") {
                Double($0.inFlightBytes)
            },
            each("affinity_waiting_callers", .gauge, "Callers that wait for a place in flight.") { Double($0.waiting) },
            each("affinity_observers", .gauge, "Watches of keys, prefixes and stores that look at this master.") {
                Double($0.observers)
            },
            each("affinity_memstore_entries", .gauge, "Entries of all stores; RocksDB estimates them.") {
                $0.size.entries.map(Double.init)
            },
            each("affinity_memstore_bytes", .gauge, "Keys and values of all stores; in RocksDB, what its files take.") {
                $0.size.bytes.map(Double.init)
            },
        ]
    }

    /// What became of messages, in all partitions together.
    private var messages: [MetricFamily] {
        let counts = counts
        var refusals = MetricFamily(
            "affinity_refusals_total", .counter,
            "Commands and queries that were not run, or not answered in time, by the cause.")
        for (reason, count) in counts.refusals.sorted(by: { $0.key < $1.key }) {
            refusals.add(["keyspace": keyspace, "reason": reason], count)
        }
        return [
            one("affinity_rejections_total", "Commands and queries that the handler said no to.", counts.rejections),
            one("affinity_replays_total", "Commands that got the outcome of a former request.", counts.replays),
            refusals,
        ]
    }

    private var log: [MetricFamily] {
        let counts = counts
        return [
            one("affinity_log_appended_records_total", "Records that were handed to the log.", counts.records),
            one("affinity_log_appended_bytes_total", "Keys and values of those records.", counts.recordBytes),
            durations(
                "affinity_log_acknowledgement_duration_seconds",
                "From handing a command's records to the log until all were acknowledged.", counts.acknowledged),
            one("affinity_applied_changes_total", "Changes that memstores took, on standbys too.", counts.changes),
            durations(
                "affinity_apply_duration_seconds", "How long a memstore took for a batch of a master's commands.",
                counts.applied),
        ]
    }

    private var forwarding: [MetricFamily] {
        guard let forwarding = figures.forwarding else { return [] }
        return [
            one("affinity_forwarded_messages_total", "Messages that were sent to other nodes.", forwarding.asked),
            one("affinity_forwarded_failures_total", "Those of them that no answer came to.", forwarding.failed),
            gauge("affinity_held_messages", "Messages that wait for a master.", forwarding.held),
            gauge("affinity_held_bytes", "What messages weigh that wait for a master.", forwarding.heldBytes),
        ]
    }

    private var counts: ReplicaCounts { figures.replicas.reduce(into: ReplicaCounts()) { $0.add($1.counts) } }

    private func number(_ replica: ReplicaFigures) -> String { String(replica.status.partition.number) }

    private func each(
        _ name: String, _ kind: MetricFamily.Kind, _ help: String, _ value: (ReplicaFigures) -> Double?
    ) -> MetricFamily {
        var family = MetricFamily(name, kind, help)
        for replica in figures.replicas {
            guard let value = value(replica) else { continue }
            family.add(["keyspace": keyspace, "partition": number(replica)], value)
        }
        return family
    }

    private func one(_ name: String, _ help: String, _ count: UInt64) -> MetricFamily {
        var family = MetricFamily(name, .counter, help)
        family.add(["keyspace": keyspace], count)
        return family
    }

    private func gauge(_ name: String, _ help: String, _ value: Int) -> MetricFamily {
        var family = MetricFamily(name, .gauge, help)
        family.add(["keyspace": keyspace], value)
        return family
    }

    private func durations(_ name: String, _ help: String, _ counts: DurationCounts) -> MetricFamily {
        var family = MetricFamily(name, .histogram, help)
        family.add(["keyspace": keyspace], counts)
        return family
    }
}

extension NodeParts {
    /// What the leaves count, and the process.
    fileprivate func families() async -> [MetricFamily] {
        var families: [MetricFamily] = []
        if let syncs {
            var family = MetricFamily(
                "affinity_log_sync_duration_seconds", .histogram,
                "How long the local log took to write and sync what had gathered.")
            family.add([:], syncs)
            families.append(family)
        }
        if let link = cluster?.link { families += Self.families(await link.statistics()) }
        // RocksDB takes its locks, and the system lists descriptors: not on a loop.
        let blocking = try? await pool.blocking.run { [rocksdb, entryCache] in
            RocksDBMetrics(rocksdb, entryCache).families + ProcessFacts.families
        }
        return families + (blocking ?? [])
    }

    private static func families(_ statistics: PeerLinkStatistics) -> [MetricFamily] {
        [
            MetricFamily(
                "affinity_peer_connections_total", .counter,
                "Connections from and to peers, those that ended included.",
                Double(statistics.connections)),
            MetricFamily(
                "affinity_peer_sent_bytes_total", .counter, "Bytes that were sent to peers.",
                Double(statistics.sentBytes)),
            MetricFamily(
                "affinity_peer_writes_total", .counter, "System calls that sent them.", Double(statistics.writes)),
            MetricFamily(
                "affinity_peer_unsent_bytes", .gauge, "Bytes that wait to be sent to peers.",
                Double(statistics.unsentBytes)),
        ]
    }
}

private struct RocksDBMetrics {
    private let shared: RocksDBShared
    private let entryCache: EntryCacheBudget
    private let groups: [(name: String, figures: RocksDBFigures)]

    init(_ shared: RocksDBShared, _ entryCache: EntryCacheBudget) {
        self.shared = shared
        self.entryCache = entryCache
        groups = shared.figures.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    var families: [MetricFamily] {
        memory(
            "block_cache", "Blocks that are cached.", shared.cacheUsage, "Blocks that may be cached.",
            shared.cacheBytes)
            + memory(
                "entry_cache", "Entries that are kept beside RocksDB.", entryCache.usage,
                "Entries that may be kept beside RocksDB.", entryCache.bytes)
            + memory(
                "write_buffer", "Writes that are in memory, all databases together.", shared.writeBufferUsage,
                "Writes that may be in memory.", shared.writeBufferBytes)
            + databases
    }

    /// What the databases of each group say.
    private var databases: [MetricFamily] {
        [
            gauge("affinity_rocksdb_entries", "About how many entries there are.", \.entries),
            gauge("affinity_rocksdb_live_bytes", "About how many bytes of the files are in use.", \.liveBytes),
            gauge("affinity_rocksdb_file_bytes", "The bytes of the files.", \.fileBytes),
            gauge("affinity_rocksdb_memtable_bytes", "Writes that are in memory.", \.memtableBytes),
            gauge("affinity_rocksdb_waiting_memtables", "Memtables that wait for a flush.", \.waitingMemtables),
            gauge(
                "affinity_rocksdb_pending_compaction_bytes", "About how much compaction has to rewrite.",
                \.pendingCompactionBytes),
            gauge("affinity_rocksdb_running_flushes", "Flushes that are under way.", \.runningFlushes),
            gauge("affinity_rocksdb_running_compactions", "Compactions that are under way.", \.runningCompactions),
            gauge("affinity_rocksdb_stopped", "Databases that take no writes for now.", \.stopped),
            counter("affinity_rocksdb_compactions_total", "Flushes and compactions.", \.compactions),
            counter("affinity_rocksdb_compaction_seconds_total", "The time that they took.", \.compactionSeconds),
            counter("affinity_rocksdb_compaction_read_bytes_total", "What they read.", \.compactionReadBytes),
            counter(
                "affinity_rocksdb_compaction_written_bytes_total", "What they wrote.", \.compactionWrittenBytes),
            counter("affinity_rocksdb_write_slowdowns_total", "How often writers were slowed down.", \.slowdowns),
            counter("affinity_rocksdb_write_stops_total", "How often writers were stopped.", \.stops),
            counter("affinity_rocksdb_write_stall_seconds_total", "How long writers were held up.", \.stalledSeconds),
        ]
    }

    /// Memory that all databases share, and its bound.
    private func memory(
        _ name: String, _ help: String, _ used: Int, _ boundHelp: String, _ bound: Int
    ) -> [MetricFamily] {
        [
            MetricFamily("affinity_rocksdb_\(name)_bytes", .gauge, help, Double(used)),
            MetricFamily("affinity_rocksdb_\(name)_capacity_bytes", .gauge, boundHelp, Double(bound)),
        ]
    }

    private func gauge(_ name: String, _ help: String, _ value: (RocksDBFigures) -> Double) -> MetricFamily {
        family(name, .gauge, help, value)
    }

    private func counter(_ name: String, _ help: String, _ value: (RocksDBFigures) -> Double) -> MetricFamily {
        family(name, .counter, help, value)
    }

    private func family(
        _ name: String, _ kind: MetricFamily.Kind, _ help: String, _ value: (RocksDBFigures) -> Double
    ) -> MetricFamily {
        var family = MetricFamily(name, kind, help)
        for group in groups { family.add(["database": group.name], value(group.figures)) }
        return family
    }
}
