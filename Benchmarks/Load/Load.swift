internal import AffinityBenchmarkSupport
internal import AffinityCore
internal import AffinityNet

/// Fills a data folder with entries, through the service and its durable log, many commands at a time. Says how long
/// the start took too: with entries in the log already, it is the restoring that takes it.
@main enum Load {
    static func main() async throws {
        let arguments = Arguments("data", "entries", "memstore", "partitions", "brokers", "system")
        let entries = arguments.number("entries", default: 1_000_000)
        let begin = ContinuousClock.now
        let stack = try await Stack(
            data: arguments.text("data", default: "data"), memstore: arguments.text("memstore", default: "memory"),
            partitions: arguments.number("partitions", default: 4), kafka: KafkaArguments(arguments))
        printFigure("start", (ContinuousClock.now - begin) / .seconds(1), "s")
        let start = stack.clock.monotonic
        try await fill(stack, entries)
        let time = stack.clock.monotonic.since(start)
        printFigure("load", Double(entries) / (time / .seconds(1)), "/s")
        await stack.close()
    }

    @concurrent private static func fill(_ stack: Stack, _ entries: Int) async throws {
        // With four partitions about half of what each lets be on its way to the log.
        let clients = min(8192, entries)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in 0..<clients {
                group.addTask(executorPreference: stack.loops.next()) {
                    for index in stride(from: client, to: entries, by: clients) {
                        _ = try await stack.service.ask(Put(key: Sample.key(index), value: Sample.value(index)))
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}
