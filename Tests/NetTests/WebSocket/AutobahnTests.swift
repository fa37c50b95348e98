import AffinityNet
import AffinityTestSupport
import Testing

/// The cases of the Autobahn test suite (its own runner needs Python 2), against a server that echoes.
@Suite struct AutobahnTests {
    @Test func framing() async throws { try await run(AutobahnCase.framing, 16) }
    @Test func pings() async throws { try await run(AutobahnCase.pings, 11) }
    @Test func reservedBits() async throws { try await run(AutobahnCase.reservedBits, 7) }
    @Test func opcodes() async throws { try await run(AutobahnCase.opcodes, 10) }
    @Test func fragmentation() async throws { try await run(AutobahnCase.fragmentation, 20) }
    @Test func texts() async throws { try await run(AutobahnCase.texts, 145) }
    @Test func closing() async throws { try await run(AutobahnCase.closing, 37) }
    @Test func sizes() async throws { try await run(AutobahnCase.sizes, 43) }

    /// As many as the list has.
    private func run(_ cases: [AutobahnCase], _ count: Int) async throws {
        #expect(cases.count == count)
        #expect(Set(cases.map(\.number)).count == count)
        try await withEcho { port, _ throws in
            for each in cases {
                #expect(throws: Never.self, "\(each.number)") { try each.run(port) }
            }
        }
    }
}
