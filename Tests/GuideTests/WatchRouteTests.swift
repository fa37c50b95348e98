import Affinity
import AffinityTestSupport
import Foundation
import Testing

// The samples of the guide *Watching* that clients of a gateway see.

func watched(_ routes: Routes, _ accounts: Service<Accounts>) {
    routes.watch("/accounts/:account", accounts, \.balances)
    routes.watchPrefix("/branches/:branch", accounts, \.balances, values: .json) { request in
        Array("\(request.parameter("branch")):".utf8)
    }
    routes.watchQuery("/branches/:branch/total", accounts, reading: \.balances) { query in
        Array("\(query.branch):".utf8)
    } query: { request in
        Total(branch: request.parameter("branch"))
    }
}

struct Order: Decodable {
    let amount: Int
}

struct Receipt: Encodable {
    let balance: Int
}

func counter(_ routes: Routes, _ accounts: Service<Accounts>) {
    routes.webSocket("/counter/:account", receiving: Order.self, sending: Receipt.self) { request, socket in
        let account = try request.parameter("account", as: Account.self)
        while true {
            do {
                guard let order = try await socket.next() else { return }
                let balance = try await accounts.ask(Deposit(account: account, amount: order.amount))
                try await socket.send(Receipt(balance: balance))
            } catch let error as AskError where error.outcome == .rejected {
                await socket.send(problem: HTTPError(error))
            }
        }
    }
}

@Suite struct WatchRouteTests {
    /// Runs `body`, which blocks, with the port of a node that has these routes.
    private func withNode(_ body: @escaping @Sendable (_ port: Int) throws -> Void) async throws {
        let folder = try TemporaryFolder()
        var ports = Ports()
        let port = try ports.take()
        let node = try Node(
            .load(
                yaml: """
                    node: { data: \(folder.path) }
                    gateway: { listeners: ["http://127.0.0.1:\(port)"] }
                    log: { level: warning }
                    """))
        let accounts = try node.keyspace("accounts", Accounts.self)
        let gateway = try HTTPGateway { gateway in
            routes(gateway, accounts)
            watched(gateway, accounts)
            counter(gateway, accounts)
            gateway.operations(node)
        }
        async let running: Void = node.run(gateway)
        let result: Result<Void, any Error>
        do {
            result = .success(
                try await onThread {
                    try waitUntil("the node") { (try? HTTPClient(port: port).ask("GET", "/readyz").status) == 200 }
                    try body(port)
                })
        } catch { result = .failure(error) }
        node.stop()
        try await running
        try result.get()
    }

    @Test func aKeyIsTold() async throws {
        try await withNode { port in
            let watch = try WebSocketProbe(port: port, "/accounts/north:1")
            #expect(try watch.frame().text == #"{"version":0,"deleted":true}"#)
            try deposit(5, port)
            let told = try watch.frame().text
            let version = try #require(told.firstMatch(of: /^\{"version":(\d+),"value":5\}$/), "\(told)").1
            try deposit(2, port)
            let resumed = try WebSocketProbe(port: port, "/accounts/north:1?after=\(version)")
            #expect(try resumed.frame().text.hasSuffix(#","value":7}"#))
            let anew = try WebSocketProbe(port: port, "/accounts/north:1?after=\(Int64.max)")
            #expect(try anew.frame().text == #"{"reset":true}"#)
            #expect(try anew.frame().text.hasSuffix(#","value":7}"#))
            try watch.send(.text("hello"))
            #expect(try watch.frame().text.hasSuffix(#","value":7}"#) && watch.closeCode() == 1003)
        }
    }

    @Test func anEventStreamIsAsTheGuideShowsIt() async throws {
        try await withNode { port in
            try deposit(5, port)
            let http = try HTTPClient(port: port)
            try http.send(
                HTTPClient.request("GET", Array("/accounts/north:1".utf8), [("Accept", "text/event-stream")]))
            #expect(try http.answer()["Content-Type"] == "text/event-stream")
            var text = ""
            while !text.contains("data:"), let chunk = try http.chunk() {
                text += String(decoding: chunk, as: UTF8.self)
            }
            let expected = try Regex(#"retry: 1000\n\nid: (\d+)\ndata: \{"version":\1,"value":5\}\n\n"#)
            #expect(text.wholeMatch(of: expected) != nil, "\(text)")
        }
    }

    @Test func aBranchAndItsTotalAreTold() async throws {
        try await withNode { port in
            try deposit(5, port)
            let total = try WebSocketProbe(port: port, "/branches/north/total")
            #expect(try total.frame().text == "5")
            let branch = try WebSocketProbe(port: port, "/branches/north")
            var told: [String] = []
            // A partition each has its `level`, and the entry comes before that of its partition.
            while told.count(where: { $0.hasSuffix(#","level":true}"#) }) < 4 { told.append(try branch.frame().text) }
            #expect(told.count == 5, "\(told)")
            let entry = try Regex(#"\{"partition":(\d+),"key":"north:1","version":\d+,"value":5\}"#)
            #expect(told.contains { $0.wholeMatch(of: entry) != nil }, "\(told)")
            try deposit(2, port)
            #expect(try total.frame().text == "7" && branch.frame().text.hasSuffix(#","value":7}"#))
        }
    }

    @Test func theCounterTalksBothWays() async throws {
        try await withNode { port in
            let counter = try WebSocketProbe(port: port, "/counter/north:1")
            try counter.send(.text(#"{"amount":5}"#))
            #expect(try counter.frame().text == #"{"balance":5}"#)
            try counter.send(.text(#"{"amount":-6}"#))
            let problem = try counter.frame().text
            #expect(problem.contains(#""status":422"#) && problem.contains("insufficient funds"), "\(problem)")
            try counter.send(.text(#"{"amount":1}"#))
            #expect(try counter.frame().text == #"{"balance":6}"#)
            try counter.send(.text("six"))
            #expect(try counter.closeCode() == 1008)
        }
    }
}

private func deposit(_ amount: Int, _ port: Int) throws {
    let answer = try HTTPClient(port: port).ask("POST", "/accounts/north:1/deposits", json: "\(amount)")
    guard answer.status == 200 else { throw Failure("deposit: \(answer)") }
}
