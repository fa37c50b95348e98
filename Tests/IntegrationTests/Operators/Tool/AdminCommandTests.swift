import AffinityTestSupport
import Foundation
import Testing

extension Operators {
    /// The command `affinity`, against the cluster.
    @Suite struct Tool {
        private func address(_ node: ServiceProcess) throws -> String { "http://127.0.0.1:\(try node.adminPort)" }

        /// The settings as they are printed.
        private func settings(drained: String = "none", paused: String = "no", pinned: [String] = ["none"]) -> String {
            (["drained: \(drained)", "paused: \(paused)"] + pinned.map { "pinned: \($0)" }).joined(separator: "\n")
        }

        @Test func everyCommandDoesWhatItSaysAndPrintsWhatStandsThen() throws {
            let cluster = try operated
            let environment = ["AFFINITY_ADMIN": try address(cluster.nodes[0])]
            func check(_ words: [String], _ expected: String) throws {
                let child = try Child(Programs.affinity, words, environment: environment)
                #expect(try child.waitForExit() == 0 && child.text == expected, "\(words): \(child.text)")
            }
            try check(["settings"], settings())
            try check(["pause"], settings(paused: "yes"))
            try check(["drain", "n2"], settings(drained: "n2", paused: "yes"))
            try check(["undrain", "n2"], settings(paused: "yes"))
            try check(["resume"], settings())
            try check(["pin", "kv", "3", "n1", "n2"], settings(pinned: ["kv 3 on n1 n2"]))
            try check(["pin", "kv", "0", "n2"], settings(pinned: ["kv 0 on n2", "kv 3 on n1 n2"]))
            try cluster.waitUntil { try $0.status().masters[0] == "n2" && $0.status().masters[3] == "n1" }
            try check(["unpin", "kv", "3"], settings(pinned: ["kv 0 on n2"]))
            try check(["settings"], settings(pinned: ["kv 0 on n2"]))
        }

        @Test func statusIsATable() throws {
            let cluster = try operated
            let address = try address(cluster.nodes[0])
            #expect(try affinity("--admin", address, "pause").exit == 0)
            #expect(try affinity("drain", "n2", "--admin", address).exit == 0)
            try cluster.waitUntil {
                try $0.status().cluster?.drained == ["n2"] && $0.status().cluster?.isPaused == true
            }
            let (text, exit) = try affinity("--admin", address + "/", "status")
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            #expect(exit == 0 && lines.count == 11)
            #expect(lines[0].hasPrefix("system operated-") && lines[0].hasSuffix(", as n1 sees it; moves are paused"))
            #expect(lines[2].split(separator: " ") == ["NODE", "ADDRESS", "STATE"])
            #expect(lines[3].hasPrefix("n1  ") && lines[3].hasSuffix("  up"))
            #expect(lines[4].hasPrefix("n2  ") && lines[4].hasSuffix("  up, drained"))
            let columns = lines[6].split(separator: "  ").map { $0.drop { $0 == " " } }
            #expect(
                columns == [
                    "KEYSPACE", "PARTITION", "MASTER", "EPOCH", "STANDBYS", "MOVES TO", "HERE", "LAG", "IN FLIGHT",
                ])
            let masters = try cluster.nodes[0].status().masters
            for (number, line) in lines[7...].enumerated() {
                let cells = line.split(separator: " ")
                #expect(cells.prefix(3) == ["kv", "\(number)", "\(masters[number])"])
                #expect(cells.count == columns.count && cells[4...5] == ["-", "-"])
                // What the replica does may have changed meanwhile, but not whether there is one.
                let isHere = masters[number] == "n1"
                #expect((cells[6] != "-") == isHere && (Int(cells[7]) != nil) == isHere)
            }
        }

        @Test func programsGetWhatTheNodeAnswers() throws {
            let cluster = try operated
            let address = try address(cluster.nodes[1])
            let paused = try affinity("--json", "--admin", address, "pause")
            #expect(paused.exit == 0)
            let settings = try JSONDecoder().decode(OperatorSettings.self, from: Data(paused.text.utf8))
            #expect(settings == OperatorSettings(isPaused: true))
            let shown = try affinity("status", "--json", "--admin", address)
            #expect(shown.exit == 0)
            let status = try JSONDecoder().decode(OperatedStatus.self, from: Data(shown.text.utf8))
            #expect(status.masters.count == OperatedCluster.partitions)
        }

        @Test func whatIsRefusedIsSaidInTheWordsOfTheNode() throws {
            let cluster = try operated
            let environment = ["AFFINITY_ADMIN": try address(cluster.nodes[0])]
            #expect(
                try affinity("drain", "n99", environment: environment)
                    == ("affinity: 404: there is no node n99, only n1, n2", 1))
            #expect(
                try affinity("pin", "kv", "0", "n99", environment: environment)
                    == ("affinity: 422: there is no node n99, only n1, n2", 1))
            #expect(
                try affinity("pin", "kv", "4", "n1", environment: environment)
                    == ("affinity: 404: kv has partitions 0 to 3", 1))
            #expect(
                try affinity("unpin", "a/b", "0", environment: environment)
                    == ("affinity: 404: there is no keyspace a/b", 1))
            #expect(
                try affinity("pin", "kv", "0", "n1", "n1", environment: environment)
                    == ("affinity: 400: the body must be a list of different nodes, the preferred master first", 1))
            let gateway = "http://127.0.0.1:\(cluster.nodes[0].port)"
            #expect(
                try affinity("--admin", gateway, "pause", environment: environment)
                    == ("affinity: 404: there is nothing at this path", 1), "the option counts before the variable")
        }
    }
}

/// The command `affinity`, where there is no cluster.
@Suite struct LonelyTool {
    @Test func helpNamesEveryCommandAndEveryExitCode() throws {
        for words in [["--help"], ["-h"]] {
            let (text, exit) = try affinity(words)
            #expect(exit == 0 && text.hasPrefix("usage: affinity COMMAND"))
            for word in [
                "status", "get KEY", "put KEY [VALUE]", "watch KEY", "undrain NODE", "config", "doctor", "log dump",
                "--json",
            ] {
                #expect(text.contains(word), "\(word)")
            }
            for code in 0...4 {
                #expect(text.contains("\n            \(code)  ") || text.contains("Exit codes: \(code)"))
            }
        }
    }

    @Test(arguments: [
        "status", "get", "put", "watch", "settings", "drain", "undrain", "pause", "resume", "pin", "unpin", "config",
        "doctor",
        "log dump",
    ]) func everyCommandExplainsItself(name: String) throws {
        let (text, exit) = try affinity(name.split(separator: " ").map(String.init) + ["--help"])
        #expect(exit == 0 && text.hasPrefix("usage: affinity \(name)") && text.contains("--json"), "\(text)")
    }

    @Test(arguments: [
        [], ["help"], ["log"], ["drain"], ["drain", "n1", "n2"], ["drain", ""], ["pause", "now"], ["pin", "kv", "0"],
        ["unpin", "kv"], ["unpin", "kv", "0", "n1"], ["status", "--all"], ["status", "--admin"],
        ["status", "--url", "http://127.0.0.1"], ["status", "--node.data", "x"], ["get"], ["get", "a", "b"],
        ["get", "a", "--json=yes"], ["get", "a", "--url", "http://127.0.0.1", "--url", "http://127.0.0.1"],
        ["get", "a", "--timeout", "soon"], ["get", "a", "--position", "a\nb"], ["put", "a", "1", "--if-match"],
        ["log", "dump", "--from", "-1"],
    ]) func aCallThatMakesNoSenseGetsTheUsage(words: [String]) throws {
        let (text, exit) = try affinity(words)
        #expect(exit == 2 && text.hasPrefix("affinity: ") && text.contains("\nusage: affinity"), "\(text)")
    }

    @Test(arguments: [
        "localhost:8079", "nonsense", "http://", "ftp://127.0.0.1", "https://127.0.0.1", "http://a b", "http://a?b",
        "http://a:0", "",
    ])
    func whatIsNoAddressIsSaidToBeNone(address: String) throws {
        let (text, exit) = try affinity("--admin", address, "status")
        #expect(exit == 2 && text.hasPrefix("affinity: \(address) is no address like http://127.0.0.1:8079"))
    }

    @Test func aNodeThatIsNotThereIsNamed() throws {
        let (text, exit) = try affinity("status", environment: ["AFFINITY_ADMIN": "http://127.0.0.1:1"])
        #expect(exit == 3 && text.hasPrefix("affinity: http://127.0.0.1:1 does not answer: "), "\(text)")
    }

    @Test func aNodeThatIsAloneIsShownAndTakesNothing() throws {
        let node = try ServiceProcess.keyValue(ServiceProcess.operators)
        let address = "http://127.0.0.1:\(try node.adminPort)"
        let shown = try affinity("--admin", address, "status")
        #expect(shown.exit == 0 && shown.text.contains("kv        3          n1"), "\(shown.text)")
        let refused = try affinity("--admin", address, "pause")
        #expect(refused.exit == 1 && refused.text.hasPrefix("affinity: 409: the node is alone"), "\(refused.text)")
        // Something that answers, but is no node.
        #expect(try node.connect().ask("PUT", "/kv/status", json: "1").status == 201)
        let other = try affinity("--admin", "http://127.0.0.1:\(node.port)/kv", "status")
        #expect(other.exit == 1 && other.text.contains("cannot be read"), "\(other.text)")
        #expect(try node.stop() == 0)
    }
}
