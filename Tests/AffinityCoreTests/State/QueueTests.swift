import AffinityTestSupport
import AffinityTesting
import Testing

@testable import AffinityCore

@Suite struct QueueTests {
    /// Against an array, over the moves of the head that give space back.
    @Test(arguments: [1, 2, newSeed()])
    func randomUseAgreesWithAModel(_ seed: UInt64) {
        let random = SeededRandom(seed)
        var queue = Queue<Int>()
        var model: [Int] = []
        var taken: UInt64 = 0
        for round in 0..<20_000 {
            if random.next() % 100 < (round < 10_000 ? 60 : 40) {
                #expect(queue.nextNumber == taken + UInt64(model.count))
                queue.append(round)
                model.append(round)
            } else {
                let first = model.isEmpty ? nil : model.removeFirst()
                #expect(queue.popFirst() == first, "seed \(seed)")
                if first != nil { taken += 1 }
            }
            guard !model.isEmpty else { continue }
            let place = Int(random.next() % UInt64(model.count))
            queue[place] += 1
            model[place] += 1
            #expect(queue.first == model.first && queue[place] == model[place], "seed \(seed)")
            #expect(queue.offset(of: taken + UInt64(place)) == place)
        }
        #expect(queue.count == model.count && queue.firstNumber == taken)
        #expect(queue.offset(of: queue.nextNumber) == nil)
        if taken > 0 { #expect(queue.offset(of: taken - 1) == nil) }
    }

    @Test func someCanLeave() {
        var queue = Queue<Int>()
        for number in 0..<10 { queue.append(number) }
        _ = queue.popFirst()
        #expect(queue.removeAll { $0 % 2 == 0 } == [2, 4, 6, 8])
        #expect((0..<queue.count).map { queue[$0] } == [1, 3, 5, 7, 9])
        #expect(queue.removeAll { $0 > 100 } == [])
    }
}
