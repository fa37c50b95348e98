/// The requests that wait to be sent, in the order of their calls.
struct RequestLine {
    /// The next ones, the first at the end.
    private var front: [ZooKeeperRequest] = []
    private var back: [ZooKeeperRequest] = []

    mutating func append(_ request: ZooKeeperRequest) { back.append(request) }

    /// Puts what has its turn again before all others.
    mutating func prepend(_ requests: [ZooKeeperRequest]) { front += requests.reversed() }

    mutating func popFirst() -> ZooKeeperRequest? {
        if front.isEmpty {
            front = back.reversed()
            back = []
        }
        return front.popLast()
    }

    /// Takes all of them out.
    mutating func removeAll() -> [ZooKeeperRequest] {
        defer { (front, back) = ([], []) }
        return front.reversed() + back
    }
}
