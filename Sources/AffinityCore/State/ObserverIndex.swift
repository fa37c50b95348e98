/// Who watches what in one store: a change finds its observers by a look into a dictionary, and one more for each
/// distinct length of the prefixes that are watched.
struct ObserverIndex {
    private var keys: [[UInt8]: ObserverList] = [:]
    /// By their lengths, the shortest first.
    private var prefixes: [(length: Int, lists: [[UInt8]: ObserverList])] = []
    private var whole = ObserverList()
    private(set) var count = 0
    /// How often a change was looked up, or met an observer: what watching costs.
    private(set) var work = 0

    mutating func insert(_ observer: Observer) {
        count += 1
        switch observer.part.scope.kind {
        case .key(let key): keys[key, default: ObserverList()].insert(observer)
        case .prefix(let prefix):
            let place = prefixes.firstIndex { $0.length >= prefix.count } ?? prefixes.count
            if place == prefixes.count || prefixes[place].length != prefix.count {
                prefixes.insert((prefix.count, [:]), at: place)
            }
            prefixes[place].lists[prefix, default: ObserverList()].insert(observer)
        case .all: whole.insert(observer)
        }
    }

    mutating func remove(_ observer: Observer) {
        guard observer.place >= 0 else { return }
        count -= 1
        switch observer.part.scope.kind {
        case .key(let key):
            keys[key]?.remove(observer)
            if keys[key]?.isEmpty == true { keys[key] = nil }
        case .prefix(let prefix):
            guard let place = prefixes.firstIndex(where: { $0.length == prefix.count }) else { return }
            prefixes[place].lists[prefix]?.remove(observer)
            if prefixes[place].lists[prefix]?.isEmpty == true { prefixes[place].lists[prefix] = nil }
            if prefixes[place].lists.isEmpty { prefixes.remove(at: place) }
        case .all: whole.remove(observer)
        }
    }

    /// Takes everybody out.
    mutating func removeAll() -> [Observer] {
        var all = whole.observers
        for list in keys.values { all += list.observers }
        for (_, lists) in prefixes { for list in lists.values { all += list.observers } }
        for observer in all { observer.place = -1 }
        (keys, prefixes, whole, count) = ([:], [], ObserverList(), 0)
        return all
    }

    /// Calls `body` for everybody whom a change of `key` concerns.
    mutating func forEach(_ key: [UInt8], _ body: (Observer) -> Void) {
        work += 1
        if let list = keys[key] {
            work += list.observers.count
            for observer in list.observers { body(observer) }
        }
        for (length, lists) in prefixes {
            if length > key.count { break }
            work += 1
            guard let list = lists[Array(key.prefix(length))] else { continue }
            work += list.observers.count
            for observer in list.observers { body(observer) }
        }
        work += whole.observers.count
        for observer in whole.observers { body(observer) }
    }
}

/// Observers of the same thing; each knows its place, so that it leaves at once.
struct ObserverList {
    private(set) var observers: [Observer] = []

    var isEmpty: Bool { observers.isEmpty }

    mutating func insert(_ observer: Observer) {
        observer.place = observers.count
        observers.append(observer)
    }

    mutating func remove(_ observer: Observer) {
        let place = observer.place
        guard observers.indices.contains(place), observers[place] === observer, let last = observers.popLast() else {
            return
        }
        observer.place = -1
        if last !== observer {
            observers[place] = last
            last.place = place
        }
    }
}
