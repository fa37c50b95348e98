import AffinityTestSupport
import Testing

/// The bank's page in a browser.
@Suite(.enabled(if: Chromium.isAvailable)) struct BankPageTests {
    @Test func theBalanceChangesWhileOneLooks() async throws {
        try await onThread {
            let bank = try ServiceProcess.bank()
            let client = try bank.connect()
            let page = try Chromium("http://127.0.0.1:\(bank.port)/?account=north:1")
            let balance = "document.getElementById('balance').textContent"
            try page.waitUntil("\(balance) === 'no account yet'")
            // From elsewhere: nobody touches the page.
            #expect(try client.ask("POST", "/accounts/north:1/deposit", json: #"{"cents":1234}"#).status == 200)
            try page.waitUntil("\(balance) === '12.34'")
            #expect(try client.ask("POST", "/accounts/north:2/deposit", json: #"{"cents":1}"#).status == 200)
            // From the page itself.
            try page.fill("#transfer input[name=amount]", "2.34")
            try page.fill("#transfer input[name=to]", "north:2")
            try page.click("#transfer button")
            try page.waitUntil("\(balance) === '10.00'")
            #expect(try client.ask("GET", "/accounts/north:2").text == #"{"cents":235,"movements":2}"#)
            // What the bank refuses is said, and changes nothing.
            try page.fill("#withdraw input[name=amount]", "10,01")
            try page.click("#withdraw button")
            try page.waitUntil("document.getElementById('problem').textContent === 'insufficient funds'")
            #expect(try page.evaluate(balance) == "\"10.00\"")
            #expect(try page.evaluate("document.getElementById('state').textContent") == "\"live\"")
            #expect(page.exceptions == [])
            #expect(try bank.stop() == 0)
        }
    }

    @Test func thePageGoesOnAfterTheServiceWasAway() async throws {
        try await onThread {
            let bank = try ServiceProcess.bank()
            let page = try Chromium("http://127.0.0.1:\(bank.port)/?account=north:1")
            let deposit = { (bank: ServiceProcess) in
                try bank.connect().ask("POST", "/accounts/north:1/deposit", json: #"{"cents":100}"#).status
            }
            #expect(try deposit(bank) == 200)
            try page.waitUntil("document.getElementById('balance').textContent === '1.00'")
            let port = bank.port
            #expect(try bank.stop() == 0)
            try page.waitUntil("document.getElementById('state').textContent === 'connecting'")
            let again = try ServiceProcess.bank(["--gateway.listeners", "http://127.0.0.1:\(port)"], on: bank.folder)
            #expect(try deposit(again) == 200)
            try page.waitUntil("document.getElementById('balance').textContent === '2.00'")
            #expect(try again.stop() == 0)
        }
    }
}
