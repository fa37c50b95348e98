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

    /// The number that the next element gets.
    var nextNumber: UInt64 { firstNumber + UInt64(count) }

    mutating func append(_ element: Element) { elements.append(element) }

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

    /// Changes the element of that number in place; nothing if it has left the queue.
    mutating func update(_ number: UInt64, _ body: (inout Element) -> Void) {
        guard number >= firstNumber, number < nextNumber else { return }
        body(&elements[head + Int(number - firstNumber)]!)
    }

    /// Changes every element in place, the first first.
    mutating func updateAll(_ body: (inout Element) -> Void) {
        for index in head..<elements.count { body(&elements[index]!) }
    }
}
