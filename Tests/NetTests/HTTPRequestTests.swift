import AffinityNet
import Testing

@Suite struct HTTPRequestTests {
    @Test func answersAndKeepsTheConnection() async throws {
        try await withServer { port, _ in
            let client = try RawClient(port: port)
            for index in 0..<3 {
                let answer = try client.ask("GET /\(index) HTTP/1.1\r\nHost: x\r\n\r\n")
                #expect(answer.status == 200)
                #expect(answer.text == "GET /\(index) ")
                #expect(answer.header("date")?.hasSuffix(" GMT") == true)
                #expect(answer.header("connection") == nil)
            }
        }
    }
}
