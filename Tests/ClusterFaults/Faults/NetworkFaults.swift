import AffinityTestSupport

extension Fault {
    /// What happens to networks, one way or both.
    static let networks = [
        Fault("network-zookeeper", .network) { scene in
            try scene.withNode(by: scene.masterships) { scene.lose($0.networks.zookeeper) }
        },
        Fault("network-kafka", .network) { scene in
            try scene.withNode(by: scene.masterships) { scene.lose([$0.networks.kafka]) }
        },
        Fault("network-peer", .network) { scene in
            try scene.withNode(by: scene.masterships) { node in
                let asker = scene.pick(scene.cluster.nodes.filter { $0 !== node })?.id ?? ""
                scene.note("from \(asker)")
                scene.lose([node.networks.peers], of: asker)
            }
        },
        // The node runs, and is alone in the world but for its clients.
        Fault("network-all", .network) { scene in
            try scene.withNode(by: scene.masterships) { node in
                let others = scene.cluster.nodes.filter { $0 !== node }
                for other in others {
                    node.networks.peers.hold(of: other.id)
                    other.networks.peers.hold(of: node.id)
                }
                scene.lose(node.networks.zookeeper + [node.networks.kafka])
                for other in others {
                    node.networks.peers.release(of: other.id)
                    other.networks.peers.release(of: node.id)
                }
            }
        },
    ]
}

extension Scene {
    /// Loses some networks for a while, in a way that the dice say.
    func lose(_ networks: [Relay], of name: String = "") {
        let kinds: [(String, Set<Relay.Direction>?)] = [
            ("requests", [.requests]), ("answers", [.answers]), ("both ways", [.requests, .answers]), ("refused", nil),
        ]
        let (kind, directions) = pick(kinds) ?? kinds[0]
        note(kind)
        for network in networks {
            if let directions { network.hold(directions, of: name) } else { network.cut(of: name) }
        }
        hold(0.3...2)
        // What was held up arrives late, or never.
        if roll(0...1) < 0.3 { for network in networks { network.end(of: name) } }
        for network in networks {
            network.release(of: name)
            network.mend(of: name)
        }
    }
}
