import AffinityCore
import AffinityLocalLog
import AffinityNet
import AffinityRocksDB
import AffinityTestSupport
import Testing

@Suite struct TraceTests {
    @Test func aTraceGoesFromTheRequestToItsRecordAndItsLogLine() async throws {
        let folder = try TemporaryFolder()
        let service = try ServiceProcess.keyValue(["--gateway.access-log", "true"], on: folder)
        let (trace, caller) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
        let client = try service.connect()
        let put = try client.ask("PUT", "/kv/traced", json + [("traceparent", "00-\(trace)-\(caller)-01")], body: "1")
        #expect(put.status == 201)
        #expect(try client.ask("PUT", "/kv/untraced", json, body: "1").status == 201)
        let line = try service.child.line { $0.message == "request" && $0.fields["target"] == "/kv/traced" }
        let span = try #require(line.fields["span_id"])
        #expect(line.fields["trace_id"] == trace && span != caller)
        let untraced = try service.child.line { $0.fields["target"] == "/kv/untraced" }
        #expect(untraced.fields["trace_id"] == nil && untraced.fields["span_id"] == nil)
        #expect(try service.stop() == 0)

        let record = try await record("traced", of: try #require(put.partition), in: folder.path + "/data/log")
        #expect(record?.headers.traceparent == "00-\(trace)-\(span)-01")
    }

    /// The first record of a key.
    private func record(_ key: String, of partition: Int, in folder: String) async throws -> Record? {
        let group = try EventLoopGroup(count: 1)
        let pool = ThreadPool(threads: 1)
        let log = try await LocalLog.open(
            folder: folder, shared: RocksDBShared(), clock: SystemClock(), pool: pool.blocking, report: { _ in })
        let use = try await log.open(
            PartitionID(keyspace: "kv", number: partition), changelogs: [.init(name: "kv", controlKey: [])],
            executor: group.loops[0], acknowledge: { _ in })
        let page = try await use.read(0, from: .zero, maxBytes: 1 << 20)
        await log.close()
        await group.shutdown()
        return page.records.first { $0.record.key == Array(key.utf8) }?.record
    }
}
