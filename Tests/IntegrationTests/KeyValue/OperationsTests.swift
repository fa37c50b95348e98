import AffinityTestSupport
import Foundation
import Testing

extension KeyValueInterface {
    @Suite struct Operations {
        @Test func statusHasItsShape() throws {
            let client = try keyValue.connect()
            let put = try client.ask("PUT", "/kv/o1", json, body: "1")
            let answer = try client.ask("GET", "/status")
            #expect(answer.status == 200 && answer["Content-Type"] == "application/json")
            let status = try JSONDecoder().decode(Status.self, from: Data(answer.body))
            #expect(status.system == "demo" && status.node == "n1")
            #expect(status.nodes.map(\.id) == ["n1"] && status.nodes[0].state == "up")
            #expect(status.nodes[0].address == "127.0.0.1:7001")
            let partitions = try #require(status.keyspaces["kv"]).partitions
            #expect(partitions.map(\.partition) == [0, 1, 2, 3])
            for partition in partitions {
                #expect(partition.master == "n1" && partition.role == "master" && partition.state == "serving")
                #expect(partition.epoch > 0 && partition.lag >= 0 && partition.standbys.isEmpty)
                #expect(!partition.position.isEmpty && !partition.end.isEmpty)
            }
            #expect(partitions.indices.contains(try #require(put.partition)))
        }

        private struct Status: Decodable {
            var system: String
            var node: String
            var nodes: [Member]
            var keyspaces: [String: Keyspace]

            struct Member: Decodable {
                var id: String
                var address: String
                var state: String
            }

            struct Keyspace: Decodable { var partitions: [Partition] }

            struct Partition: Decodable {
                var partition: Int
                var master: String?
                var epoch: UInt64
                var role: String
                var state: String
                var position: String
                var end: String
                var lag: Int
                var standbys: [String]
            }
        }

        @Test func livenessAndReadiness() throws {
            let client = try keyValue.connect()
            #expect(try client.ask("GET", "/healthz").status == 200)
            #expect(try client.ask("GET", "/readyz").status == 200)
        }

        @Test func tooManyInFlightAre429AndNotApplied() throws {
            let service = try ServiceProcess.keyValue([
                "--keyspaces.kv.in-flight.commands", "1", "--keyspaces.kv.in-flight.waiting", "0",
            ])
            let clients = try (0..<16).map { _ in try service.connect() }
            let request = HTTPClient.request("POST", Array("/kv/o3/add".utf8), json, Array("{\"by\":1}".utf8))
            var (applied, refused) = (0, 0)
            try waitUntil("a refusal", within: 10) {
                for client in clients { try client.send(request) }
                for client in clients {
                    let answer = try client.answer()
                    if answer.status == 200 {
                        applied += 1
                    } else {
                        expectProblem(answer, 429)
                        refused += 1
                    }
                }
                return refused > 0
            }
            #expect(try clients[0].ask("GET", "/kv/o3").text == "\(applied)")
            #expect(try service.stop() == 0)
        }

        @Test func peersAreHeardAtAnAddressOfItsOwn() throws {
            let folder = try TemporaryFolder()
            // Neither of the two servers is there: that is for later.
            let node = try Child(
                Programs.keyValue,
                [
                    "--node.data", folder.path + "/data", "--node.port", "1", "--node.listen", "127.0.0.1:0",
                    "--coordinator.kind", "zookeeper", "--coordinator.connect", "127.0.0.1:1", "--storage.kind",
                    "kafka",
                    "--storage.brokers", "127.0.0.1:1",
                ])
            defer { try? node.killNow() }
            let line = try node.line { $0.message == "listening for peers" }
            let address = try #require(line.fields["address"])
            #expect(address.hasPrefix("127.0.0.1:") && address != "127.0.0.1:1")
        }

        @Test(arguments: ["memory", "rocksdb"]) func dataSurvivesRestartAndCrash(memstore: String) throws {
            let arguments = ["--keyspaces.kv.memstore", memstore]
            var process = try ServiceProcess.keyValue(arguments)
            var tags: [String: String] = [:]
            for round in 0..<3 {
                let client = try process.connect()
                for (key, tag) in tags {
                    let read = try client.ask("GET", "/kv/\(key)")
                    #expect(read.etag == tag && read.text == "\"\(key)\"", "round \(round): \(read)")
                }
                for number in 0..<20 {
                    let key = "o2-\(round)-\(number)"
                    let put = try client.ask("PUT", "/kv/\(key)", json, body: "\"\(key)\"")
                    #expect(put.status == 201)
                    tags[key] = put.etag
                }
                if round == 0 { try process.child.killNow() } else { #expect(try process.stop() == 0) }
                process = try ServiceProcess.keyValue(arguments, on: process.folder)
            }
        }
    }

    @Suite struct Wire {
        @Test func pipelinedRequestsAreAnsweredInOrder() throws {
            let client = try keyValue.connect()
            var bytes: [UInt8] = []
            for number in 0..<50 {
                bytes += HTTPClient.request("PUT", Array("/kv/w1".utf8), json, Array("\(number)".utf8))
                bytes += HTTPClient.request("GET", Array("/kv/w1".utf8))
            }
            try client.send(bytes)
            var versions: [UInt64] = []
            for number in 0..<50 {
                let put = try client.answer()
                let get = try client.answer()
                #expect(put.status == (number == 0 ? 201 : 204) && get.text == "\(number)" && get.etag == put.etag)
                versions.append(try #require(put.version))
            }
            #expect(versions == versions.sorted() && Set(versions).count == 50)
        }

        @Test func absoluteTargetsAreTakenForTheirPath() throws {
            let client = try keyValue.connect()
            #expect(try client.ask("PUT", "http://example.org:99/kv/w2", json, body: "1").status == 201)
            #expect(try client.ask("GET", "HTTPS://x/kv/w2").text == "1")
            #expect(try client.ask("GET", "/kv/w2", [("Host", "whoever")]).text == "1")
            #expect(try client.page("prefix=w2").items.count == 1)
            for target in ["http://x", "http://x?prefix=/kv", "http://x/"] {
                expectProblem(try client.ask("GET", target), 404)
            }
            #expect(try client.ask("GET", "http://x/kv?prefix=w2&limit=1").status == 200)
        }

        @Test func expectationsAreAnswered() throws {
            let client = try keyValue.connect()
            let head = "PUT /kv/w3 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
            try client.send(Array(head.utf8))
            try client.send([UInt8(ascii: "1")])
            #expect(try client.answer(passingContinue: true).status == 201)
            expectProblem(try client.ask("PUT", "/kv/w3", [("Expect", "wonders")], body: "1"), 417)
        }

        @Test func longTargetsAndHeadersAreRefused() throws {
            let target = "/kv/" + String(repeating: "x", count: 9000)
            expectProblem(try keyValue.connect().ask("GET", target), 414)
            expectProblem(
                try keyValue.connect().ask("GET", "/kv/a", [("X", String(repeating: "x", count: 20_000))]), 431)
        }

        @Test func chunkedBodiesAreTaken() throws {
            let client = try keyValue.connect()
            let head = "PUT /kv/w4 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            try client.send(Array((head + "3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n").utf8))
            #expect(try client.answer().status == 201)
            #expect(try client.ask("GET", "/kv/w4").text == "[1,2]")
        }
    }
}
