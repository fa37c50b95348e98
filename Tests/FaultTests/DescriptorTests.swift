import AffinityTestSupport
import Foundation
import Glibc
import Testing

extension Faults {
    /// A process that may not open any more files.
    @Suite(.serialized) struct DescriptorTests {
        @Test func connectionsWaitForDescriptors() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let node = try KeyValueNode.serving(folder.path + "/data", .memory)
                let early = try node.connect()
                #expect(try early.ask("PUT", "/kv/a", json: "1").status == 201)
                try Self.limitDescriptors(of: node.child.pid, besides: 8)

                // The system lets all of them connect; the process takes a few.
                var clients = try (0..<40).map { _ in try node.connect() }
                let line = try node.child.line { $0.message == "connections cannot be accepted for now" }
                #expect(line.level == "warning" && line.fields["of"] == "clients", "\(line.text)")
                let last = try #require(clients.last)
                try last.send("GET /kv/a HTTP/1.1\r\nHost: x\r\n\r\n")
                let before = try Self.processorTime(of: node.child.pid)
                #expect(try !last.hasInput(within: 1_000))
                let busy = try Self.processorTime(of: node.child.pid) - before
                #expect(busy < 0.3, "busy for \(busy) s of a second with nothing to do")

                // Who is there is served as ever.
                for number in 0..<50 {
                    #expect(try early.ask("PUT", "/kv/a", json: "\(number)").isGood)
                    #expect(try clients[0].ask("GET", "/kv/a").text == "\(number)")
                }
                // And the others one after the other, as descriptors come free; some have given up.
                clients.removeSubrange(0..<20)
                while clients.count > 1 { #expect(try clients.removeFirst().ask("GET", "/kv/a").text == "49") }
                #expect(try last.answer().text == "49")

                let lines = node.child.lines.filter { $0.message == line.message }
                #expect(lines.count == 1, "said more than once")
                #expect(try node.stop() == 0)
            }
        }

        /// Lets the process open so many descriptors more than it has.
        private static func limitDescriptors(of process: Int32, besides count: Int) throws {
            let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").compactMap { Int($0) }
            // A new one gets the lowest number that is free.
            var limit = 0
            var free = 0
            while free < count {
                if !open.contains(limit) { free += 1 }
                limit += 1
            }
            let child = try Child("/usr/bin/prlimit", ["--pid", "\(process)", "--nofile=\(limit):"])
            guard try child.waitForExit() == 0 else { throw Failure(child.text) }
        }

        /// How many seconds it has kept a processor busy so far.
        private static func processorTime(of process: Int32) throws -> Double {
            let facts = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
            // The name, in parentheses, may hold anything; user and system time are the 12th and 13th behind it.
            let fields = facts.split(separator: ")").last?.split(separator: " ") ?? []
            guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else {
                throw Failure("stat: \(facts)")
            }
            return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
        }
    }
}
