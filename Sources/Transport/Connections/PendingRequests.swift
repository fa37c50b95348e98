internal import AffinityCore

/// What a request comes to.
typealias Answer = Result<[UInt8], PeerError>

/// The requests of one connection that wait for their answers, found by their ids.
///
/// An array with places that are used again, not a dictionary: an id names its place.
struct PendingRequests {
    struct Pending {
        let continuation: UnsafeContinuation<Answer, Never>
        let deadline: MonotonicTime
        /// Where the frame ends in all that the connection sends; `max` while it is not appended.
        let end: UInt64
    }

    private struct Place {
        var use: UInt32 = 0
        var pending: Pending?
    }

    private let limit: Int
    private var places: [Place] = []
    private var free: [UInt32] = []

    init(limit: Int) { self.limit = limit }

    /// How many wait.
    var count: Int { places.count - free.count }

    /// A place for one more, the one that was used last; `nil` if there is none.
    mutating func reserve() -> UInt64? {
        if let index = free.popLast() { return id(index) }
        guard places.count < limit else { return nil }
        places.append(Place())
        return id(UInt32(places.count - 1))
    }

    /// Puts a request in the place that was reserved for it.
    mutating func put(_ pending: Pending, at id: UInt64) { places[index(id)].pending = pending }

    /// The request with that id; `nil` if it does not wait any more.
    func find(_ id: UInt64) -> Pending? {
        guard index(id) < places.count, self.id(UInt32(index(id))) == id else { return nil }
        return places[index(id)].pending
    }

    /// Takes the request with that id out; `nil` if it does not wait any more.
    ///
    /// - Throws: if there was never one.
    mutating func take(_ id: UInt64) throws(MalformedFrame) -> Pending? {
        guard index(id) < places.count else { throw MalformedFrame("an answer has an id that was never given") }
        guard let pending = find(id) else { return nil }
        release(id)
        return pending
    }

    /// Frees the place with that id.
    mutating func release(_ id: UInt64) {
        let index = index(id)
        places[index].pending = nil
        places[index].use &+= 1
        free.append(UInt32(index))
    }

    /// The ids of those whose deadline is not behind `time`, and the earliest deadline of the others.
    func due(_ time: MonotonicTime) -> (ids: [UInt64], next: MonotonicTime) {
        var ids: [UInt64] = []
        var next = MonotonicTime.never
        for (index, place) in places.enumerated() {
            guard let pending = place.pending else { continue }
            if pending.deadline <= time { ids.append(id(UInt32(index))) } else { next = min(next, pending.deadline) }
        }
        return (ids, next)
    }

    /// Takes all of them out.
    mutating func takeAll() -> [Pending] {
        defer { (places, free) = ([], []) }
        return places.compactMap(\.pending)
    }

    private func index(_ id: UInt64) -> Int { Int(UInt32(truncatingIfNeeded: id)) }
    private func id(_ index: UInt32) -> UInt64 { UInt64(places[Int(index)].use) << 32 | UInt64(index) }
}
