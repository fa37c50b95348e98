internal import AffinityCore

/// What is wrong with a topic, compared with what the configuration says (PROTOCOL §11).
struct TopicFindings {
    /// With these the log cannot work.
    private(set) var mistakes: [String] = []
    /// With these it is not as safe as it was meant to be: the fields of a report each.
    private(set) var warnings: [[(name: String, value: String)]] = []

    /// The settings of a topic that is made.
    static func settings(_ configuration: KafkaLogConfiguration) -> [(name: String, value: String)] {
        [
            ("cleanup.policy", "compact"), ("message.timestamp.type", "LogAppendTime"),
            ("min.compaction.lag.ms", String(configuration.compactionLag.wholeMilliseconds)),
            ("delete.retention.ms", String(configuration.deleteRetention.wholeMilliseconds)),
            ("max.message.bytes", String(configuration.maxMessageBytes)),
        ]
    }

    /// - Parameter settings: `nil` if they were looked at before.
    init(
        _ topic: String, _ facts: KafkaTopicFacts, _ settings: [String: String]?, partitions: Int,
        _ configuration: KafkaLogConfiguration
    ) {
        if facts.partitions != partitions {
            mistakes.append("topic \(topic) has \(facts.partitions) partitions instead of \(partitions)")
        }
        guard let settings else { return }
        for (name, needed) in Self.settings(configuration) {
            let found = settings[name] ?? "nothing"
            if found == needed { continue }
            switch name {
            case "cleanup.policy", "message.timestamp.type":
                mistakes.append("topic \(topic) has \(name)=\(found) instead of \(needed)")
            case "max.message.bytes":
                if Int(found).map({ $0 < configuration.maxMessageBytes }) ?? true {
                    mistakes.append("topic \(topic) has \(name)=\(found), less than \(needed)")
                }
            default: warn(topic, name, found, needed)
            }
        }
        if facts.replication < configuration.replication {
            warn(topic, "replication factor", "\(facts.replication)", "\(configuration.replication)")
        }
        let minimum = settings["min.insync.replicas"].flatMap { Int($0) } ?? 1
        if configuration.replication >= 3 && minimum < 2 { warn(topic, "min.insync.replicas", "\(minimum)", "2") }
        if settings["unclean.leader.election.enable"] == "true" {
            warn(topic, "unclean.leader.election.enable", "true", "false")
        }
    }

    private mutating func warn(_ topic: String, _ setting: String, _ found: String, _ wanted: String) {
        warnings.append([("topic", topic), ("setting", setting), ("found", found), ("wanted", wanted)])
    }
}
