import AffinityTestSupport

extension Fault {
    /// What happens to the servers that the system relies on.
    static let servers = [
        Fault("zookeeper-one", .zookeeper) { scene in
            let servers = scene.cluster.zookeeper
            let leader = try servers.leader()
            let others = scene.cluster.zookeeperNumbers.filter { $0 != leader }
            guard let server = scene.pick(others) else { return scene.note("there is only one") }
            try servers.kill(server)
            scene.hold(1...2)
            try servers.start(server)
        },
        Fault("zookeeper-leader", .zookeeper) { scene in
            let servers = scene.cluster.zookeeper
            let leader = try servers.leader()
            try servers.kill(leader)
            scene.hold(1...2)
            try servers.start(leader)
        },
        Fault("zookeeper-all", .zookeeper) { scene in
            let servers = scene.cluster.zookeeper
            for number in scene.cluster.zookeeperNumbers { try servers.kill(number) }
            scene.hold(1...2.5)
            for number in scene.cluster.zookeeperNumbers { try servers.start(number) }
        },
        Fault("zookeeper-paused", .zookeeper) { scene in
            let servers = scene.cluster.zookeeper
            for number in scene.cluster.zookeeperNumbers { try servers.pause(number) }
            scene.hold(0.3...2)
            for number in scene.cluster.zookeeperNumbers { try servers.resume(number) }
        },
        Fault("kafka-killed", .kafka) { scene in
            try scene.cluster.kafka.kill(1)
            scene.hold(0.5...1)
            try scene.cluster.kafka.start(1)
        },
        Fault("kafka-paused", .kafka) { scene in
            try scene.cluster.kafka.pause(1)
            scene.hold(0.5...2.5)
            try scene.cluster.kafka.resume(1)
        },
    ]
}

extension Cluster {
    var zookeeperNumbers: [Int] { Array(1...options.servers) }
}
