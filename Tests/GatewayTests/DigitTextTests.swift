import Testing

@testable import AffinityCore
@testable import AffinityGateway

@Suite struct DigitTextTests {
    @Test(arguments: [0, 1, 9, 10, 1841, UInt64(Int64.max), .max])
    func entityTagsAreWhatConditionsRead(_ number: UInt64) throws {
        let version = Version(number)
        #expect(version.entityTag == "\"\(number)\"")
        #expect(try Conditions(match: [version.entityTag], noneMatch: []).check(version) == .passed)
        #expect(try Conditions(match: [], noneMatch: [version.entityTag]).check(version) == .matched)
    }

    @Test(arguments: [[], [0], [7, 12], [.max, .min, -1]] as [[Int64]])
    func positionsAreWhatTheyPrint(_ offsets: [Int64]) {
        let position = Position(offsets.map { Offset($0) })
        let reached = AskError.Reached(PartitionID(keyspace: "kv", number: 3), position)
        #expect(reached.token == (offsets.isEmpty ? "3" : "3:\(position)"))
    }
}
