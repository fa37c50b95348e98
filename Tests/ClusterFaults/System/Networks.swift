import AffinityTestSupport

/// The networks of one node: everything that it says to others, and that its peers ask it, goes through them.
final class Networks: Sendable {
    /// To each ZooKeeper server.
    let zookeeper: [Relay]
    /// To Kafka, which tells each node an address of its own: that of this relay.
    let kafka: Relay
    /// From the node's peers, by their names.
    let peers: Relay
    /// Where the node listens for peers.
    let listener: Int

    /// - Parameters:
    ///   - zookeeper: the ports of the servers.
    ///   - kafka: the port where Kafka listens for this node.
    ///   - listener: where the node listens for peers.
    init(zookeeper: [Int], kafka: Int, listener: Int) throws {
        self.zookeeper = try zookeeper.map { try Relay(to: $0) }
        self.kafka = try Relay(to: kafka)
        self.listener = listener
        peers = try Relay(to: listener, nameOf: Self.asker)
    }

    func stop() { for relay in zookeeper + [kafka, peers] { relay.stop() } }

    /// The node that says hello on a connection between peers: `FrameKind` of the transport has the layout.
    @Sendable private static func asker(_ bytes: ArraySlice<UInt8>) -> String {
        let (header, fixed) = (13, 4 + 2 + 1 + 32)
        var rest = bytes.dropFirst(header + fixed)
        guard bytes.dropFirst(header).starts(with: "AFLK".utf8), let system = rest.popFirst() else { return "" }
        rest = rest.dropFirst(Int(system))
        guard let count = rest.popFirst() else { return "" }
        return String(decoding: rest.prefix(Int(count)), as: UTF8.self)
    }
}

extension Relay {
    /// Where clients find it.
    var address: String { "127.0.0.1:\(port)" }
}
