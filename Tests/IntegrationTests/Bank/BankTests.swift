import AffinityTestSupport
import Foundation
import Testing

/// The bank over HTTP.
@Suite struct BankTests {
    @Test func moneyMovesOverHTTPAndNothingMovesTwice() async throws {
        try await onThread {
            let bank = try ServiceProcess.bank()
            let client = try bank.connect()
            let opened = try client.ask("POST", "/accounts/north:1/deposit", json: #"{"cents":1000}"#)
            #expect(opened.status == 200 && opened.text == #"{"cents":1000,"movements":1}"#)
            #expect(try client.ask("POST", "/accounts/north:2/deposit", json: #"{"cents":1}"#).status == 200)
            for round in 0..<2 {
                let answer = try client.ask(
                    "POST", "/accounts/north:1/transfer", [("Idempotency-Key", "t1")],
                    json: #"{"to":"north:2","cents":400}"#)
                #expect(answer.status == 200 && answer.text == #"{"cents":600,"movements":2}"#, "\(round)")
            }
            #expect(try client.ask("GET", "/accounts/north:2").text == #"{"cents":401,"movements":2}"#)
            let movements = try client.ask("GET", "/accounts/north:2/movements")
            #expect(movements.text.hasPrefix(#"[{"balance":401,"cents":400,"other":{"#), "\(movements)")
            let event = try bank.child.line { $0.message == "transferred" }
            #expect(event.fields["from"] == "north:1" && event.fields["to"] == "north:2")
            #expect(event.fields["cents"] == "400")
            #expect(try bank.stop() == 0)
        }
    }

    @Test func refusalsHaveTheirStatus() async throws {
        try await onThread {
            let bank = try ServiceProcess.bank()
            let client = try bank.connect()
            #expect(try client.ask("POST", "/accounts/north:1/deposit", json: #"{"cents":5}"#).status == 200)
            for (target, body, status) in [
                ("/accounts/north:1/withdraw", #"{"cents":6}"#, 422), ("/accounts/north:1/withdraw", "{}", 400),
                ("/accounts/north:1/transfer", #"{"to":"south:1","cents":1}"#, 422),
                ("/accounts/north:1/transfer", #"{"to":"north:9","cents":1}"#, 404),
                ("/accounts/north:1/transfer", #"{"to":"north","cents":1}"#, 400),
                ("/accounts/north:1/deposit", #"{"cents":0}"#, 400), ("/accounts/north/deposit", #"{"cents":1}"#, 404),
            ] {
                let answer = try client.ask("POST", target, json: body)
                #expect(answer.status == status && answer["Content-Type"] == "application/problem+json", "\(answer)")
            }
            let overdraft = try client.ask("POST", "/accounts/north:1/withdraw", json: #"{"cents":6}"#)
            #expect(overdraft.text.contains(#""balance":"5""#), "\(overdraft)")
            #expect(try client.ask("GET", "/accounts/north:2").status == 404)
            #expect(try client.ask("GET", "/accounts/north:1").text == #"{"cents":5,"movements":1}"#)
            #expect(try bank.stop() == 0)
        }
    }
}

extension ServiceProcess {
    /// Starts `Bank`, and returns when it is ready.
    ///
    /// - Parameter folder: data of a former process, if it is to be taken over.
    static func bank(_ arguments: [String] = [], on folder: TemporaryFolder? = nil) throws -> ServiceProcess {
        let folder = try folder ?? TemporaryFolder()
        let service = try ServiceProcess(
            Programs.bank, ["--node.data", "\(folder.path)/data"] + arguments, keeping: folder)
        try service.waitUntilReady()
        return service
    }
}
