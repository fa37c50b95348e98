import Affinity
import AffinityCore
import AffinityKafka
import AffinityLocalLog
import AffinityObservability
import Foundation

extension Subcommand {
    static let dumpLog = Subcommand(
        "log dump", arguments: "[KEYSPACE[/PARTITION[/STORE]]]", words: 0...1, "prints the records of changelogs",
        options: [
            Option("from", "OFFSET", "begins there, in each changelog"),
            Option("limit", "COUNT", "prints no more than so many records of each changelog"),
            Option("list", nil, "only says which changelogs there are"),
        ],
        takesConfiguration: true,
        details: """
            Reads the embedded log below node.data, also while a node runs on it, or the topics of storage.kind kafka; changes
            nothing. Each record has its offset, when the log took it, what its master wrote of it, key and value:

              e=1.0   epoch: the grant and the run      n=3/2   command 3 of the epoch, which has 2 records
              a=2     commands up to 2 were acknowledged when it was written
              foreign: no master has written it         claim, settled: control records

            --json gives one object a record; bytes that are no text are in keyHex and valueHex.
            """
    ) { call in
        let part = try Part(of: call)
        let keys = NodeKeys(of: call)
        do {
            try keys.configuration.validate()
        } catch {
            throw Failure(.usage, "\(error)")
        }
        do {
            try dump(part, of: try open(keys), call)
        } catch let error as LogError {
            throw Failure(error.code == .io ? .unavailable : .refused, error.reason)
        }
    }

    private static func open(_ keys: NodeKeys) throws -> any ChangelogReader {
        switch keys.settings.storage {
        case .local: try LocalLogReader(folder: "\(keys.settings.data)/log")
        case .kafka:
            try KafkaLogReader(keys.settings.kafkaLog()) { report in
                if report.level >= .warning { complain("\(report.message) \(report.fields.map(\.value))") }
            }
        }
    }

    /// What is to be printed.
    private struct Part {
        /// Keyspace, partition and store, as far as they are given.
        let names: [String]
        let from: Offset
        let limit: Int
        let isList: Bool

        init(of call: Invocation) throws {
            names = call.words.first.map { $0.split(separator: "/", maxSplits: 2).map(String.init) } ?? []
            from = Offset(try call.number("from", in: 0...Int64.max) ?? 0)
            limit = try call.number("limit", in: 0...Int.max) ?? .max
            isList = call["list"] != nil
        }

        func contains(_ changelog: ReadableChangelog) -> Bool {
            zip(names, [changelog.partition.keyspace, "\(changelog.partition.number)", changelog.store])
                .allSatisfy { $0 == $1 }
        }
    }

    private static func dump(_ part: Part, of log: any ChangelogReader, _ call: Invocation) throws {
        let changelogs = try log.changelogs().filter(part.contains)
        if changelogs.isEmpty { throw Failure(.refused, "there is no such changelog") }
        for changelog in changelogs {
            if part.isList && call.wantsJSON { print(try json(Listed(changelog))) }
            if !call.wantsJSON { print(changelog.text) }
            if !part.isList { try dump(changelog, part, log, call) }
        }
    }

    private static func dump(
        _ changelog: ReadableChangelog, _ part: Part, _ log: any ChangelogReader, _ call: Invocation
    ) throws {
        var next = max(changelog.bounds.lowerBound, part.from)
        var rest = part.limit
        while next < changelog.bounds.upperBound, rest > 0 {
            let page = try log.read(changelog, from: next, maxBytes: 1 << 20)
            for record in page.records.prefix(rest) {
                print(try call.wantsJSON ? json(Dumped(record, changelog)) : text(record, of: changelog))
            }
            rest -= min(rest, page.records.count)
            guard page.next > next else { return }
            next = page.next
        }
    }

    // MARK: - One record

    private static func text(_ logged: LoggedRecord, of changelog: ReadableChangelog) -> String {
        let headers = logged.record.headers
        var parts = ["  \("\(logged.offset)".padded(to: 8))  \(RFC3339.text(logged.appended))"]
        if let stamp = headers.stamp {
            parts += ["e=\(stamp.epoch)"]
            if stamp.number > 0 { parts += ["n=\(stamp.number)/\(stamp.count)"] }
            parts += ["a=\(stamp.acknowledged)"]
        } else {
            parts += ["foreign"]
        }
        if let control = Control(logged.record) {
            parts += ["\(control.kind) by \(control.node)"]
        } else {
            let key = readable(logged.record.key)
            parts += [logged.record.value.map { "\(key) = \(readable($0))" } ?? "\(key) removed"]
        }
        if let time = headers.time { parts += ["t=\(RFC3339.text(time))"] }
        parts += headers.tags.map { "tag=\(readable(Array($0.utf8)))" }
        if let trace = headers.traceparent { parts += ["trace=\(readable(Array(trace.utf8)))"] }
        return parts.joined(separator: "  ")
    }

    /// Bytes as text if they are one that a terminal shows as it is, otherwise in hexadecimal.
    private static func readable(_ bytes: [UInt8]) -> String {
        guard let text = String(validating: bytes, as: UTF8.self), text.unicodeScalars.allSatisfy(isShown) else {
            return "0x" + hex(bytes)
        }
        return text.isEmpty ? "\"\"" : text
    }

    private static func isShown(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }

    fileprivate static func hex(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }
}

/// What a control record says, for those of masters.
private struct Control: Decodable {
    var kind: String
    var node: String

    init?(_ record: Record) {
        guard record.headers.stamp?.number == 0, let value = record.value,
            let control = try? JSONDecoder().decode(Control.self, from: Data(value))
        else { return nil }
        self = control
    }
}

/// A changelog, for a program.
private struct Listed: Encodable {
    var keyspace: String
    var partition: Int
    var store: String
    var first: Int64
    var end: Int64

    init(_ changelog: ReadableChangelog) {
        (keyspace, partition) = (changelog.partition.keyspace, changelog.partition.number)
        store = changelog.store
        (first, end) = (changelog.bounds.lowerBound.rawValue, changelog.bounds.upperBound.rawValue)
    }
}

/// A record, for a program.
private struct Dumped: Encodable {
    var keyspace: String
    var partition: Int
    var store: String
    var offset: Int64
    var appended: Int64
    var kind: String
    var epoch: UInt64?
    var run: UInt16?
    var command: UInt64?
    var records: UInt32?
    var acknowledged: UInt64?
    var time: Int64?
    var tags: [String]?
    var traceparent: String?
    var key: String?
    var keyHex: String?
    var value: String?
    var valueHex: String?

    init(_ logged: LoggedRecord, _ changelog: ReadableChangelog) {
        let (record, headers) = (logged.record, logged.record.headers)
        (keyspace, partition) = (changelog.partition.keyspace, changelog.partition.number)
        store = changelog.store
        (offset, appended) = (logged.offset.rawValue, logged.appended.milliseconds)
        kind = Control(record)?.kind ?? (headers.stamp == nil ? "foreign" : "command")
        if let stamp = headers.stamp {
            (epoch, run) = (stamp.epoch.grant, stamp.epoch.run)
            if stamp.number > 0 { (command, records) = (stamp.number, stamp.count) }
            acknowledged = stamp.acknowledged
        }
        time = headers.time?.milliseconds
        tags = headers.tags.isEmpty ? nil : headers.tags
        traceparent = headers.traceparent
        key = String(validating: record.key, as: UTF8.self)
        if key == nil { keyHex = Subcommand.hex(record.key) }
        value = record.value.flatMap { String(validating: $0, as: UTF8.self) }
        if value == nil, let bytes = record.value { valueHex = Subcommand.hex(bytes) }
    }
}

extension ReadableChangelog {
    fileprivate var text: String { "\(partition) \(store): \(bounds.lowerBound) to \(bounds.upperBound)" }
}
