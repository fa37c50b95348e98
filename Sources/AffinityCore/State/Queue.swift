/// A first-in, first-out queue whose elements are found by the number of their arrival.
///
/// A ring: taking the first costs nothing, and its place is used again. The elements are not optional: one that is looked
/// at inside of an optional is copied first, with a reference counted for each of its parts.
struct Queue<Element> {
    private var ring = Ring<Element>(capacity: 0)
    private var head = 0
    private(set) var count = 0
    /// The number of the first element; the next one to arrive gets `firstNumber + count`.
    private(set) var firstNumber: UInt64 = 0

    var isEmpty: Bool { count == 0 }
    var first: Element? { isEmpty ? nil : self[0] }
    var last: Element? { isEmpty ? nil : self[count - 1] }

    /// The number that the next element gets.
    var nextNumber: UInt64 { firstNumber + UInt64(count) }

    /// The element `offset` places behind the first, looked at or changed where it is.
    ///
    /// - Precondition: there is one.
    subscript(offset: Int) -> Element {
        _read {
            precondition(offset >= 0 && offset < count)
            yield ring.places[place(offset)]
        }
        _modify {
            precondition(offset >= 0 && offset < count)
            own()
            yield &ring.places[place(offset)]
        }
    }

    /// The place of the element of that number; `nil` if it has left the queue or never came.
    func offset(of number: UInt64) -> Int? {
        number >= firstNumber && number < nextNumber ? Int(number - firstNumber) : nil
    }

    mutating func append(_ element: Element) {
        if count == ring.capacity { move(to: Ring(capacity: max(8, count * 2))) } else { own() }
        (ring.places + place(count)).initialize(to: element)
        count += 1
        ring.used = (head, count)
    }

    /// Takes the last one out; its number is given out again.
    mutating func removeLast() {
        guard !isEmpty else { return }
        own()
        count -= 1
        (ring.places + place(count)).deinitialize(count: 1)
        ring.used = (head, count)
    }

    mutating func popFirst() -> Element? {
        guard !isEmpty else { return nil }
        own()
        let element = (ring.places + head).move()
        head = place(1)
        count -= 1
        firstNumber += 1
        ring.used = (head, count)
        return element
    }

    /// Takes out, and returns, the elements for which `shouldLeave` holds; the others keep their order and get new
    /// numbers.
    mutating func removeAll(where shouldLeave: (Element) -> Bool) -> [Element] {
        var removed: [Element] = []
        var kept = Queue()
        for offset in 0..<count {
            if shouldLeave(self[offset]) { removed.append(self[offset]) } else { kept.append(self[offset]) }
        }
        guard !removed.isEmpty else { return [] }
        kept.firstNumber = firstNumber
        self = kept
        return removed
    }

    private func place(_ offset: Int) -> Int { (head &+ offset) & (ring.capacity &- 1) }

    /// Makes sure that no copy of the queue has the same ring, before it is changed.
    private mutating func own() {
        if !isKnownUniquelyReferenced(&ring) { move(to: Ring(capacity: ring.capacity)) }
    }

    /// Goes on in an empty ring that is large enough.
    private mutating func move(to other: Ring<Element>) {
        let isOwn = isKnownUniquelyReferenced(&ring)
        for offset in 0..<count {
            let place = ring.places + place(offset)
            (other.places + offset).initialize(to: isOwn ? place.move() : place.pointee)
        }
        if isOwn { ring.used = (0, 0) }
        other.used = (0, count)
        (ring, head) = (other, 0)
    }
}

extension Queue: Sendable where Element: Sendable {}

/// The memory of a queue.
///
/// Unchecked: it belongs to the queues that hold it, and is only changed by one that holds it alone.
private final class Ring<Element>: @unchecked Sendable {
    let places: UnsafeMutablePointer<Element>
    /// A power of two, or 0.
    let capacity: Int
    /// The first element's place and how many there are: what is to be destroyed with the ring.
    @exclusivity(unchecked) var used = (head: 0, count: 0)

    init(capacity: Int) {
        self.capacity = capacity
        places = .allocate(capacity: capacity)
    }

    deinit {
        for offset in 0..<used.count { (places + ((used.head + offset) & (capacity - 1))).deinitialize(count: 1) }
        places.deallocate()
    }
}
