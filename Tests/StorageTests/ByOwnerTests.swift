import AffinityTestSupport
import AffinityTesting
import Testing

@testable import AffinityLocalLog

@Suite struct ByOwnerTests {
    /// With few owners and with more than are compared one after the other.
    @Test(arguments: [1, 3, 16, 17, 100])
    func eachOwnerHasOneValue(_ count: Int) {
        final class Owner {}
        let owners = (0..<count).map { _ in Owner() }
        let seed = newSeed()
        let random = SeededRandom(seed)
        var values = ByOwner<Owner, Int>()
        var model: [(owner: Int, value: Int)] = []
        for _ in 0..<2_000 {
            let owner = Int(random.next() % UInt64(count))
            values.change(of: owners[owner], default: 100) { $0 += 1 }
            if let place = model.firstIndex(where: { $0.owner == owner }) {
                model[place].value += 1
            } else {
                model.append((owner, 101))
            }
        }
        #expect(values.all.map(\.value) == model.map(\.value), "seed \(seed)")
        #expect(zip(values.all, model).allSatisfy { $0.owner === owners[$1.owner] }, "seed \(seed)")
    }
}
