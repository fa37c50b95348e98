/// A first-in, first-out queue whose elements are found by the number of their arrival.
///
/// An array with a moving head: taking the first costs nothing, and the space before the head is reused once it is
/// half of the array.
struct Queue<Element> {
    private var elements: [Element?] = []
    private var head = 0
    /// The number of the first element; the next one to arrive gets `firstNumber + count`.
    private(set) var firstNumber: UInt64 = 0

    var count: Int { elements.count - head }
    var isEmpty: Bool { elements.count == head }
    var first: Element? { isEmpty ? nil : elements[head] }
    var last: Element? { isEmpty ? nil : elements[elements.count - 1] }

    /// The number that the next element gets.
    var nextNumber: UInt64 { firstNumber + UInt64(count) }

    /// The element `offset` places behind the first, looked at or changed where it is.
    ///
    /// - Precondition: there is one.
    subscript(offset: Int) -> Element {
        _read { yield elements[head + offset]! }
        _modify { yield &elements[head + offset]! }
    }

    /// The place of the element of that number; `nil` if it has left the queue or never came.
    func offset(of number: UInt64) -> Int? {
        number >= firstNumber && number < nextNumber ? Int(number - firstNumber) : nil
    }

    mutating func append(_ element: Element) { elements.append(element) }

    /// Takes the last one out; its number is given out again.
    mutating func removeLast() {
        guard !isEmpty else { return }
        elements.removeLast()
        if head == elements.count {
            elements.removeAll(keepingCapacity: true)
            head = 0
        }
    }

    mutating func popFirst() -> Element? {
        guard !isEmpty else { return nil }
        let element = elements[head].take()
        head += 1
        firstNumber += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 1024, head * 2 >= elements.count {
            elements.removeFirst(head)
            head = 0
        }
        return element
    }

    /// Takes out, and returns, the elements for which `shouldLeave` holds; the others keep their order and get new
    /// numbers.
    mutating func removeAll(where shouldLeave: (Element) -> Bool) -> [Element] {
        var removed: [Element] = []
        var kept: [Element?] = []
        for case .some(let element) in elements[head...] {
            if shouldLeave(element) { removed.append(element) } else { kept.append(element) }
        }
        guard !removed.isEmpty else { return [] }
        elements = kept
        head = 0
        return removed
    }
}
