import AffinityCore
import Synchronization
import Testing

@testable import AffinityObservability

@Suite struct MetricsTests {
    @Test func bucketsAreLogLinear() {
        let bounds = DurationBuckets.bounds
        #expect(bounds.count == DurationBuckets.count - 1)
        #expect(bounds.first == 1_000 && bounds.last == 1_000 << 24)
        for (bound, next) in zip(bounds, bounds.dropFirst()) {
            #expect(next > bound && Double(next) <= 1.5 * Double(bound))
        }
    }

    /// As it is defined: the first bucket whose bound is not exceeded.
    @Test func durationsFallIntoTheBucketOfTheLeastBoundThatHoldsThem() {
        let near = DurationBuckets.bounds.flatMap { [$0 - 1, $0, $0 + 1] }
        for nanoseconds in near + [.min, -1, 0, 1, 499, 500, 501, .max - 1, .max] {
            let index = DurationBuckets.bounds.firstIndex { nanoseconds <= $0 } ?? DurationBuckets.count - 1
            #expect(DurationBuckets.index(nanoseconds: nanoseconds) == index, "\(nanoseconds)")
        }
    }

    @Test func countsOfManyThreadsAreAllThere() async {
        let metrics = Metrics()
        let counter = metrics.counter("a_total", "A.")
        let histogram = metrics.histogram("b_seconds", "B.")
        await withDiscardingTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    for number in 0..<10_000 {
                        counter.add(2)
                        histogram.add(.microseconds(number % 3))
                    }
                }
            }
        }
        #expect(counter.value == 160_000)
        #expect(histogram.count == 80_000)
        #expect(histogram.counts.nanoseconds == 8 * (3_333 * 1_000 + 3_333 * 2_000))
        #expect(histogram.counts.buckets[0] == 8 * 6_667 && histogram.counts.buckets[2] == 8 * 3_333)
    }

    @Test func theTextIsPrometheus() async {
        let metrics = Metrics()
        metrics.counter("z_total", "Back\\slash and\nline.", ["path": "a\"b\\c\nd", "other": "é"]).add(3)
        metrics.counter("z_total", "", ["path": "x", "other": ""]).add(1 << 60)
        metrics.gauge("g_bytes", "A gauge.") { 0.5 }
        metrics.gauge("h", "Nothing.") { .nan }
        metrics.collect {
            var family = MetricFamily("g_bytes", .gauge, "The same.")
            family.add(["part": "2"], -Double.infinity)
            return [family, MetricFamily("empty", .gauge, "Without numbers.")]
        }
        #expect(
            await metrics.text() == """
                # HELP g_bytes A gauge.
                # TYPE g_bytes gauge
                g_bytes 0.5
                g_bytes{part="2"} -Inf
                # HELP h Nothing.
                # TYPE h gauge
                h NaN
                # HELP z_total Back\\\\slash and\\nline.
                # TYPE z_total counter
                z_total{path="a\\"b\\\\c\\nd",other="é"} 3
                z_total{path="x",other=""} 1.152921504606847e+18

                """)
    }

    @Test func histogramsAreCumulativeAndInSeconds() async {
        let metrics = Metrics()
        let histogram = metrics.histogram("t_seconds", "T.", ["a": "b"])
        for microseconds in [1, 2, 2, 1_000_000, 60_000_000] { histogram.add(.microseconds(microseconds)) }
        histogram.add(.seconds(-1))
        let lines = await metrics.text().split(separator: "\n").map(String.init)
        #expect(lines.count == 2 + DurationBuckets.count + 2)
        #expect(lines[2] == #"t_seconds_bucket{a="b",le="1e-06"} 2"#)
        #expect(lines[4] == #"t_seconds_bucket{a="b",le="2e-06"} 4"#)
        #expect(lines.contains(#"t_seconds_bucket{a="b",le="16.777216"} 5"#))
        #expect(
            lines.suffix(3) == [
                #"t_seconds_bucket{a="b",le="+Inf"} 6"#, #"t_seconds_sum{a="b"} 61.000005"#,
                #"t_seconds_count{a="b"} 6"#,
            ])
    }

    @Test func theProcessKnowsItself() throws {
        let families = Dictionary(uniqueKeysWithValues: ProcessFacts.families.map { ($0.name, $0) })
        let names = [
            "process_cpu_seconds_total", "process_max_fds", "process_open_fds", "process_resident_memory_bytes",
            "process_start_time_seconds", "process_virtual_memory_bytes",
        ]
        #expect(families.keys.sorted() == names)
        for name in names {
            let line = try #require(families[name]?.lines.first)
            let value = try #require(Double(line.split(separator: " ")[1]))
            #expect(value > 0, "\(line)")
        }
    }
}
