import Affinity
import AffinityKafka
import AffinityNet
import AffinityRocksDB
import CLinux
import Foundation

extension Subcommand {
    static let doctor = Subcommand(
        "doctor", "looks whether a node would run well on this machine, with this configuration",
        takesConfiguration: true,
        details: """
            Looks at the configuration, the libraries, ports, limits, memory, clock, the disk below node.data (it writes a
            small file there and takes it away again), and whether Kafka and ZooKeeper can be reached, if they are
            configured. Says of each what to do about it. Exit code 1 if there is a problem; warnings are none.
            """
    ) { call in
        let keys = NodeKeys(of: call)
        let findings = Doctor(keys).findings()
        if call.wantsJSON {
            print(try json(findings))
        } else {
            for finding in findings { print(finding.text) }
        }
        let problems = findings.filter { $0.level == .problem }.count
        if problems > 0 {
            throw Failure(.refused, problems == 1 ? "there is a problem" : "there are \(problems) problems")
        }
    }
}

/// What was found out about one thing.
private struct Finding: Encodable {
    enum Level: String, Encodable { case ok, warning, problem }

    var level: Level
    var check: String
    var found: String
    /// What to do about it.
    var advice: String?

    init(_ level: Level, _ check: String, _ found: String, _ advice: String? = nil) {
        (self.level, self.check, self.found) = (level, check, found)
        self.advice = level == .ok ? nil : advice
    }

    var text: String {
        let first = "\(level.rawValue.padded(to: 8)) \(check.padded(to: 14)) \(found)"
        return advice.map { first + "\n" + String(repeating: " ", count: 24) + "-> \($0)" } ?? first
    }
}

/// Looks at a machine as a node with that configuration would use it.
private struct Doctor {
    private let keys: NodeKeys
    private var settings: NodeConfiguration { keys.settings }

    init(_ keys: NodeKeys) { self.keys = keys }

    func findings() -> [Finding] {
        configuration() + libraries() + ports() + [descriptors(), memory(), clock()] + disk() + servers()
    }

    // MARK: - Configuration and libraries

    private func configuration() -> [Finding] {
        do {
            try keys.configuration.validate()
            return [Finding(.ok, "configuration", "no mistakes")]
        } catch {
            return error.mistakes.map {
                Finding(.problem, "configuration", "\($0)", "affinity config lists every key")
            }
        }
    }

    /// Debian's packages of the libraries that every node is linked with.
    private static let packages = ["librdkafka1", "librocksdb7.8", "libssl3", "libyaml-0-2", "libzookeeper-mt2"]

    private func libraries() -> [Finding] {
        let loaded = "RocksDB \(RocksDB.libraryVersion), librdkafka \(KafkaLogConfiguration.libraryVersion)"
        let first = Finding(.ok, "libraries", loaded)
        guard let status = try? String(contentsOfFile: "/var/lib/dpkg/status", encoding: .utf8) else {
            return [
                first,
                Finding(
                    .warning, "packages", "no list of Debian's packages here",
                    "look after updates of the libraries yourself"),
            ]
        }
        let versions = Self.versions(of: Set(Self.packages), in: status)
        return [first]
            + Self.packages.map { package in
                if let version = versions[package] { return Finding(.ok, "packages", "\(package) \(version)") }
                return Finding(
                    .warning, "packages", "\(package) is not installed as a package: the library comes from elsewhere",
                    "apt-get install \(package), or look after its updates yourself")
            }
    }

    private static func versions(of packages: Set<String>, in status: String) -> [String: String] {
        var versions: [String: String] = [:]
        var (package, isInstalled) = ("", false)
        for line in status.split(separator: "\n") {
            if line.hasPrefix("Package: ") { (package, isInstalled) = (String(line.dropFirst(9)), false) }
            if line.hasPrefix("Status: ") { isInstalled = line.hasSuffix(" installed") }
            if line.hasPrefix("Version: "), isInstalled, packages.contains(package) {
                versions[package] = String(line.dropFirst(9))
            }
        }
        return versions
    }

    // MARK: - The machine

    private func ports() -> [Finding] {
        var listeners = settings.gateway.listeners.map { ("gateway.listeners", $0) }
        listeners += settings.admin.map { ("admin.listeners", $0) }
        if settings.coordinator == .zookeeper {
            let peers = settings.listen ?? GatewayConfiguration.Listener("http://\(settings.host):\(settings.port)")
            listeners += peers.map { [(settings.listen == nil ? "node.port" : "node.listen", $0)] } ?? []
        }
        return listeners.map { key, listener in
            let place = "\(key) \(listener.host):\(listener.port)"
            guard let reason = Sockets.whyNotListening(listener.host, listener.port) else {
                return Finding(.ok, "ports", "\(place) is free")
            }
            return Finding(
                .problem, "ports", "\(place): \(reason)",
                "end what has it (unless it is this very node), or choose another address")
        }
    }

    private func descriptors() -> Finding {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue)), &limit)
        // For each database of RocksDB, the log and the memstores, as many files as it keeps open at most.
        let databases = keys.keyspaces.values.map { $0.memstore == .rocksdb ? $0.partitions : 0 }.reduce(1, +)
        let wanted = settings.gateway.server.connectionLimit + databases * RocksDBOptions().maxOpenFiles + 256
        let found = "\(limit.rlim_cur) may be open; connections and files could take \(wanted)"
        return Finding(
            limit.rlim_cur >= UInt(wanted) ? .ok : .warning, "descriptors", found,
            "ulimit -n \(wanted), LimitNOFILE=\(wanted) in a systemd unit, or a lower gateway.limits.connections")
    }

    private func memory() -> Finding {
        let all = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        let caches = settings.blockCache.bytes + settings.writeBuffer.bytes
        let found = "\(Self.size(all)), of which RocksDB may take \(Self.size(caches)) for its caches"
        return Finding(
            caches * 2 <= all ? .ok : .warning, "memory", found,
            "lower rocksdb.block-cache or rocksdb.write-buffer: state in memory, connections and records need room too")
    }

    private func clock() -> Finding {
        var state = timex()
        let code = adjtimex(&state)
        let isSynchronised = code >= 0 && code != TIME_ERROR && state.status & Int32(STA_UNSYNC) == 0
        return Finding(
            isSynchronised ? .ok : .warning, "clock",
            isSynchronised ? "is kept in time" : "the system does not say that it is kept in time",
            "run an NTP client (chrony, systemd-timesyncd): times of records and of what expires come from this clock")
    }

    // MARK: - The disk

    private func disk() -> [Finding] {
        let advice = "create it for the user that runs the node, or choose another node.data"
        guard let folder = Self.existing(settings.data) else {
            return [Finding(.problem, "disk", "there is no folder \(settings.data), nor one above it", advice)]
        }
        var facts = statvfs()
        guard statvfs(folder, &facts) == 0 else {
            return [Finding(.problem, "disk", "\(folder): \(String(cString: strerror(errno)))", advice)]
        }
        let free = Int(
            clamping: UInt64(facts.f_bavail).multipliedReportingOverflow(by: UInt64(facts.f_frsize)).partialValue)
        let share = facts.f_blocks == 0 ? 100 : Int(facts.f_bavail * 100 / facts.f_blocks)
        let isRoomy = free >= 2 << 30 && share >= 10
        let room = Finding(
            isRoomy ? .ok : free >= 256 << 20 ? .warning : .problem, "disk space",
            "\(Self.size(free)) (\(share) %) are free for \(settings.data)",
            "make room: a log whose disk is full takes no writes until there is some")
        do {
            return [room, try syncing(folder)]
        } catch {
            return [room, Finding(.problem, "disk", "\(error)", advice)]
        }
    }

    /// How long the disk takes to make a record durable.
    private func syncing(_ folder: String) throws -> Finding {
        var times = try SyncedFile.times(in: folder, count: 50)
        times.sort()
        let (median, worst) = (times[times.count / 2], times[times.count - 1])
        let found =
            "a write is durable after \(Self.milliseconds(median)) ms (median), \(Self.milliseconds(worst)) ms at worst"
        if SyncedFile.isInMemory(folder) {
            return Finding(
                .warning, "disk sync", found + ", in memory",
                "choose a node.data on a disk: this is lost with the power")
        }
        return Finding(
            median <= .milliseconds(10) ? .ok : .warning, "disk sync", found,
            "every write waits so long: a faster disk, or one with a cache that survives the loss of power")
    }

    /// The folder, or the next one above it that is there.
    private static func existing(_ path: String) -> String? {
        var url = URL(fileURLWithPath: path).standardizedFileURL
        while true {
            var isFolder: ObjCBool = false
            if FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) {
                return isFolder.boolValue ? url.path : nil
            }
            let above = url.deletingLastPathComponent()
            if above.path == url.path { return nil }
            url = above
        }
    }

    // MARK: - Kafka and ZooKeeper

    private func servers() -> [Finding] {
        var findings: [Finding] = []
        if settings.storage == .kafka { findings += reach("Kafka", settings.kafka.brokers) }
        if settings.coordinator == .zookeeper {
            let servers = settings.zookeeper.connect.prefix { $0 != "/" }
            findings += reach("ZooKeeper", servers.split(separator: ",").map(String.init))
        }
        return findings
    }

    private func reach(_ name: String, _ servers: [String]) -> [Finding] {
        let results = servers.map { ($0, Sockets.whyUnreachable($0)) }
        let isAny = results.contains { $0.1 == nil }
        return results.map { server, reason in
            guard let reason else { return Finding(.ok, name, "\(server) takes connections") }
            return Finding(
                isAny ? .warning : .problem, name, "\(server): \(reason)",
                "is it running, and does the way there let it through?")
        }
    }

    // MARK: - Numbers

    private static func size(_ bytes: Int) -> String {
        let (unit, name) = bytes >= 1 << 30 ? (1 << 30, "GiB") : (1 << 20, "MiB")
        return "\(bytes * 10 / unit / 10).\(bytes * 10 / unit % 10) \(name)"
    }

    private static func milliseconds(_ time: Duration) -> String {
        let (seconds, attoseconds) = time.components
        return String(format: "%.2f", Double(seconds) * 1e3 + Double(attoseconds) / 1e15)
    }
}

/// Writes a small file again and again, as the log does.
private enum SyncedFile {
    /// How long each of `count` writes of 4 KiB took until it was on disk. The file is gone afterwards.
    static func times(in folder: String, count: Int) throws -> [Duration] {
        let path = "\(folder)/affinity-doctor.\(getpid())"
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Failure(.refused, "\(folder): \(String(cString: strerror(errno)))") }
        defer {
            close(file)
            unlink(path)
        }
        let block = [UInt8](repeating: 0x5A, count: 4096)
        return try (0..<count).map { _ in
            let begin = ContinuousClock.now
            guard write(file, block, block.count) == block.count, fdatasync(file) == 0 else {
                throw Failure(.refused, "\(path): \(String(cString: strerror(errno)))")
            }
            return ContinuousClock.now - begin
        }
    }

    /// Whether the folder is in a file system that has no disk.
    static func isInMemory(_ folder: String) -> Bool {
        var facts = statfs()
        let (tmpfs, ramfs) = (0x0102_1994, 0x8584_58F6)
        guard statfs(folder, &facts) == 0 else { return false }
        return [tmpfs, ramfs].contains(Int(facts.f_type) & 0xFFFF_FFFF)
    }
}

/// What can be found out about addresses without saying anything there.
private enum Sockets {
    /// Why nobody could listen there now; `nil` if one could.
    static func whyNotListening(_ host: String, _ port: Int) -> String? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, "\(port)", &hints, &list)
        guard code == 0, let place = list?.pointee else { return String(cString: gai_strerror(code)) }
        defer { freeaddrinfo(list) }
        let descriptor = socket(place.ai_family, place.ai_socktype | Int32(SOCK_CLOEXEC.rawValue), place.ai_protocol)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        defer { close(descriptor) }
        // As the server does: connections of a former process do not count.
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        let isBound = bind(descriptor, place.ai_addr, place.ai_addrlen) == 0 && listen(descriptor, 1) == 0
        return isBound ? nil : String(cString: strerror(errno))
    }

    /// Why `host:port` takes no connection within two seconds; `nil` if it does.
    static func whyUnreachable(_ server: String) -> String? {
        guard let address = ServerAddress("http://\(server)") else { return "is no address" }
        do {
            _ = try HTTPConnection(to: address, within: .seconds(2))
            return nil
        } catch {
            return error.text
        }
    }
}
