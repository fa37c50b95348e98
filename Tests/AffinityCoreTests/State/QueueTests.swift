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

    @Test func copiesAreOfTheirOwn() {
        var queue = Queue<String>()
        for number in 0..<20 { queue.append("\(number)") }
        _ = queue.popFirst()
        let copy = queue
        queue[0] = "changed"
        queue.append("more")
        _ = queue.popFirst()
        #expect(queue.count == 19 && queue.first == "2" && queue.last == "more")
        #expect((0..<copy.count).map { copy[$0] } == (1..<20).map(String.init))
    }

    /// Whatever leaves it, and whatever is left in it at its end, is let go of.
    @Test func whatLeavesIsLetGoOf() {
        final class Thing {}
        weak var taken: Thing?
        weak var left: Thing?
        do {
            var queue = Queue<Thing>()
            for _ in 0..<20 { queue.append(Thing()) }
            taken = queue.popFirst()
            #expect(taken == nil)
            left = queue.last
            #expect(left != nil)
            let copy = queue
            queue.removeLast()
            #expect(left != nil && copy.count == 19)
        }
        #expect(left == nil)
    }
}
