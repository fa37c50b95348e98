public import AffinityCore
internal import AffinityNet
internal import Synchronization

/// How the values of a watched store stand in the messages to clients.
public struct WatchedValues<Key: StoreKey, Value: Sendable>: Sendable {
    /// The JSON text of what a change has left; it is asked for those only that have left something.
    let text: @Sendable (_ store: WatchedStore<Key, Value>, _ change: Change) throws -> [UInt8]

    /// As the bytes that stand in the store: for a store whose bytes are JSON texts. They are not looked at.
    public static var stored: WatchedValues { WatchedValues { _, change in change.value ?? Array("null".utf8) } }
}

extension WatchedValues where Value: Encodable & SendableMetatype, Key: SendableMetatype {
    /// As the JSON texts of their own encoding.
    public static var json: WatchedValues {
        WatchedValues { store, change in
            guard let value = try store.entry(change).value else { return Array("null".utf8) }
            return try Response.jsonText(of: value)
        }
    }
}

/// The texts that the watchers of one route are sent, each made once for all of them.
///
/// `{"version":17,"value":…}`, `{"version":25,"deleted":true}`, `{"reset":true}`; where many keys are watched, with
/// `"partition"` and, for entries, `"key"` in front, and `{"partition":3,"version":17,"level":true}` behind what stood in
/// a partition when the watch began.
final class WatchTexts: Sendable {
    private let value: @Sendable (Change) throws -> [UInt8]
    /// The key as a text; `nil` where one key is watched.
    private let key: (@Sendable (Change) throws -> String)?

    /// Whether entries of many keys are told.
    var isOfMany: Bool { key != nil }

    init(value: @escaping @Sendable (Change) throws -> [UInt8], key: (@Sendable (Change) throws -> String)? = nil) {
        self.value = value
        self.key = key
    }

    /// A change as a message over a WebSocket.
    func frame(_ change: Change) throws -> WebSocketFrame {
        try change.encoded { _ in EncodedChange() }.frame(for: self) {
            WebSocketFrame(utf8: try self.text(change))
        }
    }

    /// A change as a Server-Sent Event.
    func event(_ change: Change) throws -> [UInt8] {
        try change.encoded { _ in EncodedChange() }.event(for: self) {
            EventStream.event(id: self.isOfMany ? nil : change.version.description, try self.text(change))
        }
    }

    func text(_ change: Change) throws -> [UInt8] {
        var text = Array("{".utf8)
        if let key { text += "\"partition\":\(change.partition),\"key\":\(JSONLiteral(try key(change))),".utf8 }
        text += "\"version\":\(change.version),".utf8
        guard change.value != nil else { return text + "\"deleted\":true}".utf8 }
        text += "\"value\":".utf8
        text += try value(change)
        text.append(UInt8(ascii: "}"))
        return text
    }

    /// What was told of a partition holds no longer.
    func startOver(_ partition: Int) -> [UInt8] {
        Array((isOfMany ? "{\"partition\":\(partition),\"reset\":true}" : "{\"reset\":true}").utf8)
    }

    /// What stood in a partition has been told.
    func level(_ partition: Int, _ version: Version) -> [UInt8] {
        Array("{\"partition\":\(partition),\"version\":\(version),\"level\":true}".utf8)
    }
}

/// What a change has become for those who are told of it: a few routes at most watch one store.
private final class EncodedChange: Sendable {
    private struct Forms {
        var frames: [(route: ObjectIdentifier, frame: WebSocketFrame)] = []
        var events: [(route: ObjectIdentifier, event: [UInt8])] = []
    }

    private let forms = Mutex(Forms())

    func frame(for route: WatchTexts, _ make: () throws -> WebSocketFrame) rethrows -> WebSocketFrame {
        let route = ObjectIdentifier(route)
        if let made = forms.withLock({ $0.frames.first { $0.route == route }?.frame }) { return made }
        let frame = try make()
        forms.withLock { $0.frames.append((route, frame)) }
        return frame
    }

    func event(for route: WatchTexts, _ make: () throws -> [UInt8]) rethrows -> [UInt8] {
        let route = ObjectIdentifier(route)
        if let made = forms.withLock({ $0.events.first { $0.route == route }?.event }) { return made }
        let event = try make()
        forms.withLock { $0.events.append((route, event)) }
        return event
    }
}
