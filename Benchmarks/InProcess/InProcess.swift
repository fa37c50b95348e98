internal import AffinityBenchmarkSupport
internal import AffinityCore

/// The whole stack but HTTP: service, partitions, memstore in memory, and the durable log, on the event loops.
@main enum InProcess {
    static func main() async throws {
        let arguments = Arguments("data", "seconds", "loads", "brokers", "system", "replication", "linger", "requests")
        let seconds = arguments.number("seconds", default: 3)
        let stack = try await Stack(
            data: arguments.text("data", default: "data"), memstore: "memory", kafka: KafkaArguments(arguments))
        if arguments.text("loads", default: "all") == "commands" {
            try await measureCommands(stack, seconds)
        } else {
            try await measure(stack, seconds)
        }
        await stack.close()
    }

    @concurrent private static func measure(_ stack: Stack, _ seconds: Int) async throws {
        for key in Stack.keys { try await stack.service.tell(Put(key: key, value: Sample.value(0))) }
        _ = try await stack.closedLoop(.writes, clients: 64, seconds: 1)
        for clients in [1, 64, 1000] {
            show("command/hot/\(clients)", try await stack.closedLoop(.hotKey, clients: clients, seconds: seconds))
            show("command/many/\(clients)", try await stack.closedLoop(.writes, clients: clients, seconds: seconds))
        }
        show("query/many/64", try await stack.closedLoop(.reads, clients: 64, seconds: seconds))
        let most = try await stack.closedLoop(.mixed, clients: 64, seconds: seconds)
        show("mixed/many/64", most)
        let (reads, writes) = try await stack.openLoop(rate: most.rate / 2, seconds: seconds)
        show("half/query", reads)
        show("half/command", writes)
    }

    /// The commands alone, on many keys.
    @concurrent private static func measureCommands(_ stack: Stack, _ seconds: Int) async throws {
        _ = try await stack.closedLoop(.writes, clients: 64, seconds: 1)
        for clients in [1, 64, 1000] {
            show("command/many/\(clients)", try await stack.closedLoop(.writes, clients: clients, seconds: seconds))
        }
    }

    private static func show(_ name: String, _ outcome: Outcome) {
        printFigure(name, outcome.rate, "/s")
        printFigure("\(name)/p50", outcome.latencies.milliseconds(0.5), "ms")
        printFigure("\(name)/p99", outcome.latencies.milliseconds(0.99), "ms")
    }
}
