internal import AffinityBenchmarkSupport
internal import AffinityCore
internal import AffinityNet

/// What a number of clients do, each of which waits for one answer before it asks again.
enum Load {
    /// Commands, all on one key.
    case hotKey
    /// Commands, on keys at random.
    case writes
    /// Queries, on keys at random.
    case reads
    /// Nine queries to one command, on keys at random, each in a task of its own as in a gateway: the open loop takes
    /// half of what this gives.
    case mixed
}

/// How many a second, and how long each took.
struct Outcome {
    var rate = 0.0
    var latencies = Latencies()
}

extension Stack {
    /// The keys and their values, made beforehand: making them is not what is measured.
    static let keys = (0..<10_000).map { Sample.key($0) }
    private static let values = (0..<10_000).map { Sample.value($0) }

    /// Lets `clients` work for a while; they are spread over the loops as connections would be.
    func closedLoop(_ load: Load, clients: Int, seconds: Int) async throws -> Outcome {
        let start = clock.monotonic
        let end = start.advanced(by: .seconds(seconds))
        let latencies = try await withThrowingTaskGroup(of: Latencies.self) { group in
            for client in 0..<clients {
                let loop = loops.next()
                group.addTask(executorPreference: loop) {
                    var random = SplitMix(seed: UInt64(client))
                    var latencies = Latencies()
                    var before = self.clock.monotonic
                    while before < end {
                        if load == .mixed {
                            let seed = random.next()
                            await loop.start { _ = await self.request(seed) }.value
                        } else {
                            _ = try await self.ask(load, &random)
                        }
                        let after = self.clock.monotonic
                        latencies.add(nanoseconds: after.since(before).nanoseconds)
                        before = after
                    }
                    return latencies
                }
            }
            return try await group.reduce(into: Latencies()) { $0.add($1) }
        }
        let elapsed = Double(clock.monotonic.since(start).nanoseconds) / 1e9
        return Outcome(rate: Double(latencies.count) / elapsed, latencies: latencies)
    }

    /// Asks once for the mixed load; says whether it was a query.
    nonisolated(nonsending) func request(_ seed: UInt64) async -> Bool {
        var random = SplitMix(seed: seed)
        do { return try await ask(.mixed, &random) } catch { fatalError("\(error)") }
    }

    /// Asks once; says whether it was a query.
    nonisolated(nonsending) func ask(_ load: Load, _ random: inout SplitMix) async throws -> Bool {
        let number = Int(random.next() % UInt64(Self.keys.count))
        switch load {
        case .hotKey: _ = try await service.ask(Put(key: Self.keys[0], value: Self.values[number]))
        case .writes: _ = try await service.ask(Put(key: Self.keys[number], value: Self.values[number]))
        case .reads: _ = try await service.ask(Get(key: Self.keys[number]))
        case .mixed: return try await ask(random.next() % 10 == 0 ? .writes : .reads, &random)
        }
        return load == .reads
    }
}

extension Duration {
    var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
