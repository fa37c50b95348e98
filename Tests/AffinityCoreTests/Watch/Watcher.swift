import AffinityTesting

@testable import AffinityCore

/// A watch of a test, and what it has said, as short texts: `a=1@7` for a value, `a-@9` for a removal, `!` before what
/// stood there, `reset` and `level` with their partitions.
final class Watcher: Sendable {
    private let state = Box<(said: [String], end: WatchError?, signals: Int)>(([], nil, 0))
    private let held = Box<ByteWatch?>(nil)

    init(_ open: (@escaping @Sendable () -> Void) throws(WatchError) -> ByteWatch) throws(WatchError) {
        let state = state
        let watch = try open { state.change { $0.signals += 1 } }
        held.change { $0 = watch }
    }

    var watch: ByteWatch? { held.value }
    var signals: Int { state.value.signals }
    var end: WatchError? { state.value.end }
    var token: WatchToken { watch?.token ?? WatchToken() }

    /// All that was said, what can be taken now included.
    var said: [String] {
        while take() {}
        return state.value.said
    }

    /// What was said since this was asked for last.
    var news: [String] {
        let said = said
        state.change { $0.said = [] }
        return said
    }

    /// Takes some events; returns whether there were any.
    @discardableResult func take(_ limit: Int = .max) -> Bool {
        guard end == nil, let watch else { return false }
        do throws(WatchError) {
            let events = try watch.take(atMost: limit)
            state.change { $0.said += events.map(Self.shown) }
            return !events.isEmpty
        } catch {
            state.change { $0.end = error }
            return false
        }
    }

    /// Lets go of the watch.
    func drop() { held.change { $0 = nil } }

    static func shown(_ event: ByteWatch.Event) -> String {
        switch event {
        case .current(let change): "!" + shown(change)
        case .change(let change): shown(change)
        case .level(let partition): "level \(partition)"
        case .startOver(let partition): "reset \(partition)"
        }
    }

    private static func shown(_ change: AffinityCore.Change) -> String {
        let value = change.value.map { "=" + String(decoding: $0, as: UTF8.self) } ?? "-"
        return String(decoding: change.key, as: UTF8.self) + value + "@\(change.version)"
    }
}

extension Rig {
    /// Watches one text.
    func watch(
        _ key: String, after version: Version? = nil, _ options: WatchOptions = WatchOptions()
    ) throws -> Watcher {
        let store = service.watched(\.texts)
        let watcher = try Watcher { [service, executor] ready throws(WatchError) in
            try service.watch(store, key: key, after: version, options, on: executor, onReady: ready)
        }
        executor.run()
        return watcher
    }

    /// Watches the texts whose keys begin so.
    func watch(
        prefix: String, after token: WatchToken = WatchToken(), _ options: WatchOptions = WatchOptions()
    ) throws -> Watcher {
        let store = service.watched(\.texts)
        let watcher = try Watcher { [service, executor] ready throws(WatchError) in
            try service.watch(
                store, prefix: Array(prefix.utf8), after: token, options, on: executor, onReady: ready)
        }
        executor.run()
        return watcher
    }
}

extension Rig {
    /// How many watch the first partition.
    var observers: Int { feed { $0.observers } }

    /// Looks at what the first replica keeps for those who watch.
    func feed<Value: Sendable>(_ body: @escaping @Sendable (ChangeFeed) -> Value) -> Value {
        do {
            return try executor.complete { [service] in await service.replicas[0].look(body) }
        } catch { preconditionFailure("the executor has nothing to do: \(error)") }
    }
}

extension PartitionReplica {
    func look<Value: Sendable>(_ body: @Sendable (ChangeFeed) -> Value) -> Value { body(feed) }
}
