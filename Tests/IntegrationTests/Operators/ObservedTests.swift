import AffinityCore
import AffinityTestSupport
import Testing

extension Operators {
    @Suite struct Observed {
        @Test func aTraceIsKeptOnTheWayToAnotherNode() throws {
            let cluster = try operated
            let client = try cluster.nodes[0].connect()
            let caller = "b7ad6b7169203331"
            // Keys of all partitions: those of n2 are forwarded.
            var partitions: [Int: String] = [:]
            for number in 0..<64 where partitions.count < OperatedCluster.partitions {
                let trace = String(repeating: "a", count: 30) + String(number + 10)
                let headers = json + [("traceparent", "00-\(trace)-\(caller)-01")]
                let put = try client.ask("PUT", "/kv/trace-\(number)", headers, body: "1")
                #expect(put.status == 201, "\(put)")
                let partition = try #require(put.partition)
                guard partitions.updateValue(trace, forKey: partition) == nil else { continue }
                let line = try cluster.nodes[0].child.line { $0.fields["target"] == "/kv/trace-\(number)" }
                let span = try #require(line.fields["span_id"])
                #expect(line.fields["trace_id"] == trace && span != caller)
                let topics = try TopicClient(try KafkaCluster.shared.get().brokers)
                let records = try topics.read("\(cluster.system).kv.kv", partition)
                let record = records.first { $0.record.key == Array("trace-\(number)".utf8) }
                #expect(record?.record.headers.traceparent == "00-\(trace)-\(span)-01", "of partition \(partition)")
            }
            #expect(partitions.count == OperatedCluster.partitions)
            #expect(Set(try cluster.nodes[0].status().masters) == ["n1", "n2"])
        }

        @Test func theMetricsOfAClusterShowWhatGoesToOthers() throws {
            let cluster = try operated
            for node in cluster.nodes {
                let client = try node.connect()
                for number in 0..<16 {
                    #expect(try client.ask("PUT", "/kv/metrics-\(number)", json, body: "1").status < 300)
                }
                let metrics = try client.metrics()
                if let complaints = try metrics.complaints() { #expect(complaints == "") }
                #expect(metrics.sum("affinity_forwarded_messages_total") > 0)
                #expect(metrics.sum("affinity_peer_sent_bytes_total") > 0)
                #expect(metrics.sum("affinity_held_messages") == 0)
                #expect(metrics.sum("affinity_partition_serving") == 2)
                #expect(metrics.sum("affinity_log_acknowledgement_duration_seconds_count") > 0)
                #expect(metrics["affinity_log_sync_duration_seconds_count"] == nil, "the log is Kafka's")
                let admin = try PrometheusText(node.admin("GET", "/metrics").text)
                #expect(try #require(admin["affinity_http_connections{listener=\"admin\"}"]) >= 1)
            }
        }
    }
}
