import AffinityTestSupport
import Foundation
import Testing

@Suite struct MetricsTests {
    @Test(arguments: ["memory", "rocksdb"]) func whatHappensIsCounted(memstore: String) throws {
        let service = try ServiceProcess.keyValue(["--keyspaces.kv.memstore", memstore])
        let client = try service.connect()
        for number in 0..<20 {
            #expect(try client.ask("PUT", "/kv/m\(number)", json, body: "[\(number)]").status == 201)
            #expect(try client.ask("GET", "/kv/m\(number)").status == 200)
        }
        #expect(try client.ask("GET", "/kv/none").status == 404)
        #expect(try client.ask("POST", "/kv/m0/add", json, body: #"{"by":1}"#).status == 422)
        #expect(try client.ask("GET", "/nowhere").status == 404)
        for _ in 0..<2 {
            let answer = try client.ask("PUT", "/kv/m0", json + [("Idempotency-Key", "once")], body: "1")
            #expect(answer.status == 204)
        }
        let answer = try client.ask("GET", "/metrics")
        #expect(answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
        let metrics = PrometheusText(answer.text)
        if let complaints = try metrics.complaints() { #expect(complaints == "") }
        func requests(_ route: String, _ method: String, _ status: Int) -> Double? {
            let labels = "listener=\"gateway\",route=\"\(route)\",method=\"\(method)\",status=\"\(status)\""
            return metrics["affinity_http_requests_total{\(labels)}"]
        }
        #expect(requests("/kv/:key", "PUT", 201) == 20 && requests("/kv/:key", "PUT", 204) == 2)
        #expect(requests("/kv/:key", "GET", 200) == 20 && requests("/kv/:key", "GET", 404) == 1)
        #expect(requests("/kv/:key/add", "POST", 422) == 1 && requests("", "", 404) == 1)
        #expect(metrics.sum("affinity_commands_total") == 23)
        #expect(metrics.sum("affinity_queries_total") == 21)
        #expect(metrics.sum("affinity_replays_total") == 1)
        // Twenty, then one, and the outcome under its key; and what the epochs begin with.
        #expect(metrics.sum("affinity_log_appended_records_total") >= 22)
        #expect(metrics.sum("affinity_applied_changes_total") == 22)
        #expect(metrics.sum("affinity_log_acknowledgement_duration_seconds_count") >= 21)
        #expect(metrics.sum("affinity_apply_duration_seconds_count") > 0)
        #expect(metrics.sum("affinity_log_sync_duration_seconds_count") > 0)
        #expect(metrics.sum("affinity_in_flight_commands") == 0 && metrics.sum("affinity_in_flight_bytes") == 0)
        #expect(metrics.sum("affinity_partition_lag_records") == 0)
        #expect(metrics.sum("affinity_partition_serving") == 4)
        #expect(metrics["affinity_observers{keyspace=\"kv\",partition=\"0\"}"] == 0)
        for partition in 0..<4 {
            let labels = "keyspace=\"kv\",partition=\"\(partition)\""
            #expect(metrics["affinity_partition_role{\(labels),role=\"master\"}"] == 1)
            #expect(metrics["affinity_partition_role{\(labels),role=\"standby\"}"] == 0)
            #expect(try #require(metrics["affinity_partition_epoch{\(labels)}"]) > 0)
        }
        // 20 entries and one outcome; RocksDB counts its own entries too, and only guesses.
        let entries = metrics.sum("affinity_memstore_entries")
        #expect(memstore == "memory" ? entries == 21 : entries >= 21)
        #expect(metrics.sum("affinity_memstore_bytes") > 60)
        #expect(try #require(metrics["affinity_rocksdb_memtable_bytes{database=\"log\"}"]) > 0)
        #expect((metrics["affinity_rocksdb_entries{database=\"memstore\"}"] != nil) == (memstore == "rocksdb"))
        #expect(try #require(metrics["affinity_rocksdb_block_cache_capacity_bytes"]) == Double(128 << 20))
        #expect(try #require(metrics["affinity_rocksdb_entry_cache_capacity_bytes"]) == Double(64 << 20))
        #expect((try #require(metrics["affinity_rocksdb_entry_cache_bytes"]) > 0) == (memstore == "rocksdb"))
        #expect(try #require(metrics["affinity_http_connections{listener=\"gateway\"}"]) >= 1)
        #expect(metrics.sum("affinity_build_info") == 1)
        #expect(try #require(metrics["process_resident_memory_bytes"]) > 1e6)
        let start = try #require(metrics["process_start_time_seconds"])
        #expect(abs(start - Date().timeIntervalSince1970) < 3600)
        // It comes with time.
        try service.waitUntil { try client.metrics().sum("affinity_event_loop_lag_seconds_count") > 0 }
        #expect(try service.stop() == 0)
    }

    @Test func refusalsAreCountedByTheirCause() throws {
        let service = try ServiceProcess.keyValue([
            "--keyspaces.kv.in-flight.commands", "1", "--keyspaces.kv.in-flight.waiting", "0",
        ])
        let clients = try (0..<16).map { _ in try service.connect() }
        let request = HTTPClient.request("POST", Array("/kv/o3/add".utf8), json, Array("{\"by\":1}".utf8))
        var refused = 0
        try waitUntil("a refusal", within: 10) {
            for client in clients { try client.send(request) }
            for client in clients { refused += try client.answer().status == 429 ? 1 : 0 }
            return refused > 0
        }
        let metrics = try clients[0].metrics()
        #expect(metrics["affinity_refusals_total{keyspace=\"kv\",reason=\"overloaded\"}"] == Double(refused))
        #expect(try service.stop() == 0)
    }
}
