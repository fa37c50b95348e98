import AffinityTestSupport

extension Fault {
    /// What happens to processes of the system itself.
    static let nodes = [
        // Long enough that others have taken over when the node is back.
        Fault("kill-master", .node) { scene in
            try scene.withNode(by: scene.masterships) { node in
                try node.kill()
                scene.hold(1.5...2.5)
                try node.start()
            }
        },
        Fault("kill-standby", .node) { scene in
            try scene.withNode(by: { try -scene.masterships($0) }) { node in
                try node.kill()
                scene.hold(0.5...2)
                try node.start()
            }
        },
        // The new process comes while the session of the former one lives.
        Fault("restart-at-once", .node) { scene in
            try scene.withNode(by: scene.masterships) { node in
                try node.kill()
                try node.start()
            }
        },
        Fault("kill-all", .whole) { scene in
            for node in scene.cluster.running { try node.kill() }
            for node in scene.cluster.nodes { try node.start() }
        },
        Fault("data-lost", .node) { scene in
            try scene.withNode { node in
                try node.kill()
                try node.loseData()
                try node.start()
            }
        },
        // Others have taken over when it goes on, and requests have queued up at it.
        Fault("pause", .node) { scene in
            try scene.withNode(by: scene.masterships) { node in
                node.pause()
                scene.hold(1.3...2.5)
                node.resume()
            }
        },
        // About as long as lease and session, so that either may just have ended.
        Fault("pause-shortly", .node) { scene in
            try scene.withNode(by: scene.masterships) { node in
                for _ in 0..<3 {
                    node.pause()
                    scene.hold(0.2...1.2)
                    node.resume()
                    scene.hold(0.1...0.5)
                }
            }
        },
        Fault("rolling-restart", .whole) { scene in
            for node in scene.cluster.running {
                try scene.restart(node)
                try scene.cluster.waitUntilWhole(within: Run.recovery)
            }
        },
    ]
}

extension Scene {
    /// Ends a node in good order, and starts it again.
    func restart(_ node: ClusterNode) throws {
        let exit = try node.stop()
        guard exit == 0 else { throw Failure("\(node.id) has ended with \(exit)") }
        try node.start()
    }
}
