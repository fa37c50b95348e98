import AffinityNet
import AffinityTestSupport
import Testing

/// The cases of the Autobahn test suite (its own runner needs Python 2), against a server that echoes.
@Suite struct AutobahnTests {
    @Test func framing() async throws { try await run(16) { AutobahnCase.framing } }
    @Test func pings() async throws { try await run(11) { AutobahnCase.pings } }
    @Test func reservedBits() async throws { try await run(7) { AutobahnCase.reservedBits } }
    @Test func opcodes() async throws { try await run(10) { AutobahnCase.opcodes } }
    @Test func fragmentation() async throws { try await run(20) { AutobahnCase.fragmentation } }
    @Test func texts() async throws { try await run(145) { AutobahnCase.texts } }
    @Test func closing() async throws { try await run(37) { AutobahnCase.closing } }
    @Test func sizes() async throws { try await run(43) { AutobahnCase.sizes } }

    /// As many as the list has; made on the test's own thread, because that takes its time.
    private func run(_ count: Int, _ cases: @escaping @Sendable () -> [AutobahnCase]) async throws {
        try await withEcho { port, _ throws in
            let cases = cases()
            #expect(cases.count == count)
            #expect(Set(cases.map(\.number)).count == count)
            for each in cases {
                #expect(throws: Never.self, "\(each.number)") { try each.run(port) }
            }
        }
    }
}
