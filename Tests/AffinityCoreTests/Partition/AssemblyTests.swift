import AffinityTesting
import Testing

@testable import AffinityCore

/// Mistakes of a `Partition` subclass: all of them, before anything runs.
@Suite struct AssemblyTests {
    private func mistakes<P: Partition>(_ type: P.Type) -> [String] {
        do {
            _ = try PartitionCore<P>()
            return []
        } catch { return error.mistakes }
    }

    @Test func storesOfOneName() { #expect(mistakes(TwoStores.self) == ["two stores named \"a\""]) }

    @Test func namesThatNoTopicCanHave() {
        #expect(mistakes(BadNames.self).count == 4)
        #expect(mistakes(BadNames.self).allSatisfy { $0.contains("is not allowed") })
    }

    @Test func handlers() {
        #expect(
            mistakes(BadHandlers.self) == ["two handlers for \"Add\"", "\"Count\" is handled by a method of Counters"])
    }

    @Test func aMessageThatIsBothIsHandledAsWhatItWasRegisteredFor() throws {
        let probe = try PartitionProbe(Asked.self)
        let query: Int = try ask(probe, Both())
        #expect(query == 1)
        #expect(throws: AskError.self) { try tell(probe, Both()) }
    }

    private func ask<P: Partition, Q: Query>(_ probe: PartitionProbe<P>, _ query: Q) throws -> Q.Reply {
        try probe.run(query)
    }

    private func tell<P: Partition, C: Command>(_ probe: PartitionProbe<P>, _ command: C) throws {
        try probe.run(command)
    }

    @Test func aGoodOneHasItsStoresInTheOrderOfTheirNames() throws {
        let core = try PartitionCore<Ledger>()
        #expect(core.stores.map(\.name) == ["_requests", "bytes", "numbers", "texts"])
        #expect(core.stores.map(\.index) == [0, 1, 2, 3])
        #expect(try PartitionCore<Heir>().stores.map(\.name) == ["_requests", "counts2", "own"])
    }

    @Test func aStoreThatIsNotThePartitionsIsRefused() throws {
        let probe = try PartitionProbe(Borrower.self)
        #expect(throws: AskError.self) { try probe.run(Add(key: "a", by: 1)) }
    }
}

private final class TwoStores: Partition {
    let first = Store<String, String>("a")
    let second = Store<Int, Int>("a")
}

private final class BadNames: Partition {
    let empty = Store<String, String>("")
    let own = Store<String, String>("_requests2")
    let letters = Store<String, String>("a b")
    let long = Store<String, String>(String(repeating: "x", count: 201))
}

private final class BadHandlers: Partition {
    override class func register(_ on: Handlers) {
        on.command(Add.self, add)
        on.command(Add.self, add)
        on.query(Count.self, Counters.count)
    }

    func add(_ add: Add, _ tx: inout Transaction) throws(Rejected) -> Int { 0 }
}

private class Parent: Partition {
    let counts = Store<String, Int>("counts2")

    override class func register(_ on: Handlers) { on.command(Add.self, add) }

    func add(_ add: Add, _ tx: inout Transaction) throws(Rejected) -> Int { 0 }
}

private final class Heir: Parent {
    let own = Store<String, Int>("own")
}

private final class Borrower: Partition {
    override class func register(_ on: Handlers) { on.command(Add.self, add) }

    func add(_ add: Add, _ tx: inout Transaction) throws(Rejected) -> Int {
        tx[Store<String, Int>("foreign"), add.key] = add.by
        return 0
    }
}

private struct Both: Command, Query {
    typealias Reply = Int
    var key = "k"
}

private final class Asked: Partition {
    override class func register(_ on: Handlers) { on.query(Both.self, both) }

    func both(_ both: Both, _ view: borrowing View) -> Int { 1 }
}
