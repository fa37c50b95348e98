internal import AffinityCore
internal import Synchronization

/// What a program counts and measures of itself, and how Prometheus reads it.
///
///     let transfers = node.metrics.counter("bank_transfers_total", "Transfers that were made.", ["kind": "inner"])
///     transfers.add()
///
/// Metrics are declared once, before they are used, and live as long as this. Names follow Prometheus' conventions: base
/// units at the end (`_seconds`, `_bytes`), `_total` for counters. Labels must have few values: each combination is a
/// number of its own, for ever. Every method can be called on any thread.
public final class Metrics: Sendable {
    private struct Declared: Sendable {
        var kind: MetricFamily.Kind
        var help: String
        var numbers: [(labels: MetricLabels, number: Number)] = []
    }

    private enum Number: Sendable {
        case counter(Counter)
        case gauge(@Sendable () -> Double)
        case histogram(Histogram)
    }

    private struct State: Sendable {
        var declared: [String: Declared] = [:]
        var collectors: [Collector] = []
    }

    /// In a struct, because a bare closure behind a `Mutex` grows with each reading (Swift 6.3).
    private struct Collector: Sendable {
        let collect: @Sendable () async -> [MetricFamily]
    }

    private let state = Mutex(State())

    /// No metrics.
    public init() {}

    // MARK: - Declaring

    /// Declares a counter; its name ends in `_total`.
    ///
    /// - Precondition: name and labels are Prometheus', and the metric has no number with these labels yet.
    public func counter(_ name: String, _ help: String, _ labels: MetricLabels = [:]) -> Counter {
        let counter = Counter()
        declare(name, .counter, help, labels, .counter(counter))
        return counter
    }

    /// Declares a number that goes up and down.
    ///
    /// - Parameters:
    ///   - name: the metric's.
    ///   - help: what it is, in a sentence.
    ///   - labels: what tells this number from others of the name.
    ///   - read: called on any thread when the metrics are read; must return quickly.
    /// - Precondition: name and labels are Prometheus', and the metric has no number with these labels yet.
    public func gauge(
        _ name: String, _ help: String, _ labels: MetricLabels = [:], _ read: @escaping @Sendable () -> Double
    ) { declare(name, .gauge, help, labels, .gauge(read)) }

    /// Declares a histogram of durations; its name ends in `_seconds`.
    ///
    /// - Precondition: name and labels are Prometheus', and the metric has no number with these labels yet.
    public func histogram(_ name: String, _ help: String, _ labels: MetricLabels = [:]) -> Histogram {
        let histogram = Histogram()
        declare(name, .histogram, help, labels, .histogram(histogram))
        return histogram
    }

    /// Adds what is gathered only when the metrics are read.
    package func collect(_ body: @escaping @Sendable () async -> [MetricFamily]) {
        state.withLock { $0.collectors.append(Collector(collect: body)) }
    }

    private func declare(
        _ name: String, _ kind: MetricFamily.Kind, _ help: String, _ labels: MetricLabels, _ number: Number
    ) {
        precondition(MetricText.isName(name), "\"\(name)\" is no name of a metric")
        precondition(labels.allSatisfy { MetricText.isName($0.key) }, "a label of \(name) has no proper name")
        state.withLock { state in
            var declared = state.declared[name] ?? Declared(kind: kind, help: help)
            precondition(declared.kind == kind, "\(name) is declared as a \(declared.kind.rawValue) too")
            precondition(
                !declared.numbers.contains { $0.labels.elementsEqual(labels) { $0 == $1 } }, "\(name) is declared twice"
            )
            declared.numbers.append((labels, number))
            state.declared[name] = declared
        }
    }

    // MARK: - Reading

    /// The type of ``text()`` in HTTP.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Everything as it is now, in Prometheus' text format 0.0.4.
    public func text() async -> String {
        let (declared, collectors) = state.withLock { ($0.declared, $0.collectors) }
        var families: [String: MetricFamily] = [:]
        for (name, metric) in declared { families[name] = Self.family(name, metric) }
        for collector in collectors {
            for family in await collector.collect() {
                if families[family.name]?.add(family) == nil { families[family.name] = family }
            }
        }
        return families.values.sorted { $0.name < $1.name }.map(\.text).joined()
    }

    private static func family(_ name: String, _ metric: Declared) -> MetricFamily {
        var family = MetricFamily(name, metric.kind, metric.help)
        for (labels, number) in metric.numbers {
            switch number {
            case .counter(let counter): family.add(labels, counter.value)
            case .gauge(let read): family.add(labels, read())
            case .histogram(let histogram): family.add(labels, histogram.counts)
            }
        }
        return family
    }
}
