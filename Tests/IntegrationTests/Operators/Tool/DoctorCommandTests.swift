import AffinityTestSupport
import Foundation
import Testing

/// `affinity doctor`.
@Suite struct DoctorCommandTests {
    struct Finding: Decodable { var level: String, check: String, found: String, advice: String? }

    private func doctor(_ words: String...) throws -> (findings: [Finding], exit: Int32) {
        let (text, exit) = try affinity(["doctor", "--json"] + words)
        return (try parsed(try #require(text.split(separator: "\n").first)), exit)
    }

    private static let free = ["--gateway.listeners", "http://127.0.0.1:0"]

    @Test func itSaysSomethingOfEverything() throws {
        let folder = try TemporaryFolder()
        let (findings, exit) = try doctor("--node.data", folder.path + "/new/data", Self.free[0], Self.free[1])
        #expect(exit == 0)
        let checks: Set = [
            "configuration", "libraries", "packages", "ports", "descriptors", "memory", "clock", "disk space",
            "disk sync",
        ]
        #expect(Set(findings.map(\.check)) == checks)
        #expect(findings.allSatisfy { ($0.level == "ok") == ($0.advice == nil) })
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty, "nothing is left behind")
    }

    @Test func aPortThatIsTakenIsAProblem() throws {
        let node = try ServiceProcess.keyValue()
        let (findings, exit) = try doctor("--gateway.listeners", "http://127.0.0.1:\(node.port)")
        let port = try #require(findings.first { $0.check == "ports" })
        #expect(exit == 1 && port.level == "problem" && port.found.contains("127.0.0.1:\(node.port)"))
    }

    @Test func whatCannotBeWrittenToIsAProblem() throws {
        let (findings, exit) = try doctor("--node.data", "/proc/affinity", Self.free[0], Self.free[1])
        #expect(exit == 1 && findings.contains { $0.check == "disk" && $0.level == "problem" }, "\(findings)")
    }

    @Test func mistakesOfTheConfigurationAreProblems() throws {
        let (findings, exit) = try doctor("--node.loops", "many", Self.free[0], Self.free[1])
        let mistake = try #require(findings.first { $0.check == "configuration" })
        #expect(exit == 1 && mistake.level == "problem" && mistake.found.contains("--node.loops"))
    }

    @Test func serversThatAreNotThereAreProblems() throws {
        let (findings, exit) = try doctor(
            Self.free[0], Self.free[1], "--node.port", "0", "--storage.kind", "kafka", "--storage.brokers",
            "127.0.0.1:1",
            "--coordinator.kind", "zookeeper", "--coordinator.connect", "127.0.0.1:1/path")
        #expect(exit == 1)
        for name in ["Kafka", "ZooKeeper"] {
            #expect(
                findings.contains { $0.check == name && $0.level == "problem" && $0.found.hasPrefix("127.0.0.1:1: ") })
        }
    }

    @Test func peopleAreToldWhatToDo() throws {
        let (text, exit) = try affinity("doctor", "--gateway.limits.connections", "1000000", Self.free[0], Self.free[1])
        #expect(exit == 0 && text.contains("warning  descriptors"), "\(text)")
        #expect(text.contains("-> ulimit -n "), "\(text)")
    }
}
