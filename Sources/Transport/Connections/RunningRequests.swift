/// The requests of one connection whose handlers run, found by their ids.
struct RunningRequests {
    private struct Place {
        var id: UInt64?
        var task: Task<Void, Never>?
    }

    private let limit: Int
    private var places: [Place] = []
    /// Handlers that run, with those whose answers nobody awaits any more.
    private(set) var count = 0

    init(limit: Int) { self.limit = limit }

    /// Takes a request in; false if there are too many.
    ///
    /// - Throws: if the id is that of a request that runs.
    mutating func begin(_ id: UInt64) throws(MalformedFrame) -> Bool {
        let index = index(id)
        guard count < limit, index < limit else { return false }
        while places.count <= index { places.append(Place()) }
        guard places[index].id == nil else { throw MalformedFrame("a request has the id of another one") }
        places[index].id = id
        count += 1
        return true
    }

    /// Keeps the task of a request, unless that has ended.
    mutating func set(_ task: Task<Void, Never>, for id: UInt64) {
        if isRunning(id) { places[index(id)].task = task }
    }

    /// The handler has ended; says whether its answer is awaited.
    mutating func end(_ id: UInt64) -> Bool {
        count -= 1
        guard isRunning(id) else { return false }
        places[index(id)] = Place()
        return true
    }

    /// Nobody awaits the answer any more: the task, to be cancelled.
    mutating func forget(_ id: UInt64) -> Task<Void, Never>? {
        guard isRunning(id) else { return nil }
        defer { places[index(id)] = Place() }
        return places[index(id)].task
    }

    /// The same for all of them.
    mutating func forgetAll() -> [Task<Void, Never>] {
        defer { places = [] }
        return places.compactMap(\.task)
    }

    private func isRunning(_ id: UInt64) -> Bool { index(id) < places.count && places[index(id)].id == id }
    private func index(_ id: UInt64) -> Int { Int(UInt32(truncatingIfNeeded: id)) }
}
