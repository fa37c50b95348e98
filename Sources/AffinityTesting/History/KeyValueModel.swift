public import AffinityCore

/// One key of a service of entries with versions, as the KeyValue example is: `PUT`, `GET`, `DELETE` and `add`, with
/// conditions and `ETag`s.
///
/// The versions are checked as well: a value and a version that were told together belong together, and each change of
/// the key, a deletion included, has a greater version than the one before. Where a client was not told a version, any
/// one will do.
public struct KeyValueModel: SequentialModel {
    /// Which versions a condition speaks of.
    public enum Tags: Hashable, Sendable {
        /// `*`: whatever there is.
        case any
        /// These versions.
        case versions([Version])
    }

    /// What is asked for.
    public struct Input: Hashable, Sendable {
        /// What is to be done.
        public enum Action: Hashable, Sendable {
            /// `GET`.
            case get
            /// `PUT` of a value.
            case put([UInt8])
            /// `DELETE`.
            case delete
            /// `POST …/add`.
            case add(Int64)
        }

        /// What is to be done.
        public var action: Action
        /// `If-Match`.
        public var match: Tags?
        /// `If-None-Match`.
        public var noneMatch: Tags?

        /// An action under conditions.
        public init(_ action: Action, match: Tags? = nil, noneMatch: Tags? = nil) {
            self.action = action
            self.match = match
            self.noneMatch = noneMatch
        }

        /// `GET` without conditions.
        public static let get = Input(.get)
        /// `DELETE` without conditions.
        public static let delete = Input(.delete)
        /// `PUT` of a text without conditions.
        public static func put(_ text: String) -> Input { Input(.put(Array(text.utf8))) }
        /// `POST …/add` without conditions.
        public static func add(_ number: Int64) -> Input { Input(.add(number)) }
    }

    /// What is answered.
    public enum Reply: Hashable, Sendable {
        /// `200` to a `GET`: what there is.
        case value([UInt8], Version?)
        /// `404` to a `GET` or a `DELETE`: there is nothing.
        case absent
        /// `304` to a `GET`.
        case notModified(Version?)
        /// `201` or `204` to a `PUT`.
        case written(Version?, isNew: Bool)
        /// `204` to a `DELETE`.
        case deleted
        /// `200` to an `add`.
        case sum(Int64, Version?)
        /// `412`: a condition does not hold for what there is, or for nothing.
        case conditionFailed(Version?)
        /// `422` to an `add`.
        case refused
    }

    /// What there is, as far as it is known.
    public struct State: Hashable, Sendable {
        /// The value; `nil` if there is none.
        public var value: [UInt8]?
        /// The version of the newest change: this one, or a greater one if `isExact` is false.
        public var version: Version
        /// Whether the version is known.
        public var isExact: Bool

        /// A state of those parts.
        public init(_ value: [UInt8]? = nil, version: Version = .none, isExact: Bool = true) {
            self.value = value
            self.version = version
            self.isExact = isExact
        }
    }

    /// What there is before the first operation.
    public let initial: State

    /// Whether the version of an entry may grow although nobody has asked for it: a new master may write again what it
    /// finds.
    public let isRewritten: Bool

    /// A key that begins like that: as a rule, without a value.
    public init(initial: State = State(), isRewritten: Bool = false) {
        self.isRewritten = isRewritten
        self.initial = isRewritten ? State(initial.value, version: initial.version, isExact: false) : initial
    }

    /// Whether it is a `GET`, or the answer says that nothing was done.
    public func isRead(_ input: Input, _ reply: Reply?) -> Bool {
        switch reply {
        case .absent, .conditionFailed, .refused: true
        default: input.action == .get
        }
    }

    /// The state after an operation; `nil` if it cannot be answered so.
    public func apply(_ input: Input, _ reply: Reply?, to state: State) -> State? {
        guard var next = follow(input, reply, state) else { return nil }
        if isRewritten { next.isExact = false }
        return next
    }

    private func follow(_ input: Input, _ reply: Reply?, _ state: State) -> State? {
        guard let reply else { return effect(of: input, on: state) }
        switch (input.action, reply) {
        case (.get, .value(let value, let version)) where state.value == value:
            return state.told(version)?.passing(input)
        case (.get, .absent), (.delete, .absent):
            return state.value == nil ? state.passing(input) : nil
        case (.get, .notModified(let version)):
            return state.value == nil ? nil : state.told(version)?.notModified(input)
        case (.put(let value), .written(let version, let isNew)) where isNew == (state.value == nil):
            return state.passing(input)?.changed(to: value, version)
        case (.delete, .deleted) where state.value != nil:
            return state.passing(input)?.changed(to: nil)
        case (.add(let number), .sum(let sum, let version)) where state.sum(number) == sum:
            return state.passing(input)?.changed(to: Array("\(sum)".utf8), version)
        case (.add(let number), .refused) where state.sum(number) == nil:
            return state.passing(input)
        case (_, .conditionFailed(nil)):
            return state.value == nil ? state.failing(input) : nil
        case (_, .conditionFailed(let version?)):
            return state.value == nil ? nil : state.told(version)?.failing(input)
        default: return nil
        }
    }

    /// Versions never become less.
    public func mayFollow(_ input: Input, _ reply: Reply, _ state: State) -> Bool {
        switch reply {
        case .written(let version?, _), .sum(_, let version?): version > state.version
        case .value(_, let version?), .notModified(let version?), .conditionFailed(let version?):
            version >= state.version
        default: true
        }
    }

    /// Whether it has the same value, and allows the version.
    public func isAsOpen(_ state: State, as other: State) -> Bool {
        state == other || !state.isExact && state.value == other.value && state.version <= other.version
    }

    private func effect(of input: Input, on state: State) -> State? {
        guard let state = state.passing(input) else { return nil }
        switch input.action {
        case .get: return state
        case .put(let value): return state.changed(to: value)
        case .delete: return state.value == nil ? nil : state.changed(to: nil)
        case .add(let number): return state.sum(number).flatMap { state.changed(to: Array("\($0)".utf8)) }
        }
    }
}

extension KeyValueModel.State {
    /// The state, if the version of what there is may be `version`.
    fileprivate func told(_ version: Version?) -> Self? {
        guard let version else { return self }
        guard isExact ? version == self.version : version >= self.version else { return nil }
        return Self(value, version: version)
    }

    /// The state after a change, whose version must be greater.
    fileprivate func changed(to value: [UInt8]?, _ version: Version? = nil) -> Self? {
        guard let version else { return Self(value, version: self.version.next, isExact: false) }
        return version > self.version ? Self(value, version: version) : nil
    }

    /// The sum of `number` and what there is; `nil` if that is no integer, or the sum is none.
    fileprivate func sum(_ number: Int64) -> Int64? {
        guard let value else { return number }
        guard let present = Self.integer(value) else { return nil }
        let (sum, overflow) = present.addingReportingOverflow(number)
        return overflow ? nil : sum
    }

    /// The integer that a JSON text is.
    private static func integer(_ text: [UInt8]) -> Int64? {
        let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }
        let number = text.drop(while: isSpace).prefix { !isSpace($0) }
        guard text[number.endIndex...].allSatisfy(isSpace) else { return nil }
        return Int64(String(decoding: number, as: UTF8.self))
    }

    // MARK: - Conditions

    /// The state if the conditions may hold. What they say of the version is known then.
    fileprivate func passing(_ input: KeyValueModel.Input) -> Self? {
        guard input.match.map(mayMatch) ?? true, input.noneMatch.map(mayMiss) ?? true else { return nil }
        guard case .versions(let versions) = input.match, versions.count == 1 else { return self }
        return told(versions[0])
    }

    /// The state if the answer may be that a condition does not hold.
    fileprivate func failing(_ input: KeyValueModel.Input) -> Self? {
        let isMissed = input.match.map(mayMiss) ?? false
        // To a GET that would be another answer.
        let isMatched = input.action != .get && (input.noneMatch.map(mayMatch) ?? false)
        return isMissed || isMatched ? self : nil
    }

    fileprivate func notModified(_ input: KeyValueModel.Input) -> Self? {
        (input.match.map(mayMatch) ?? true) && (input.noneMatch.map(mayMatch) ?? false) ? self : nil
    }

    private func mayMatch(_ tags: KeyValueModel.Tags) -> Bool {
        guard value != nil, case .versions(let versions) = tags else { return value != nil }
        return versions.contains { isExact ? $0 == version : $0 >= version }
    }

    private func mayMiss(_ tags: KeyValueModel.Tags) -> Bool {
        guard value != nil, case .versions(let versions) = tags else { return value == nil }
        return !isExact || !versions.contains(version)
    }
}

extension Version {
    fileprivate var next: Version { Version(rawValue == .max ? .max : rawValue + 1) }
}

// MARK: - Rendering

extension KeyValueModel.Input: CustomStringConvertible {
    /// The action and its conditions, on one line.
    public var description: String {
        let conditions = [match.map { "If-Match \($0)" }, noneMatch.map { "If-None-Match \($0)" }]
        return ([name] + conditions.compactMap { $0 }).joined(separator: " ")
    }

    private var name: String {
        switch action {
        case .get: "GET"
        case .put(let value): "PUT \(String(decoding: value, as: UTF8.self))"
        case .delete: "DELETE"
        case .add(let number): "add \(number)"
        }
    }
}

extension KeyValueModel.Tags: CustomStringConvertible {
    /// As the header says it.
    public var description: String {
        switch self {
        case .any: "*"
        case .versions(let versions): versions.map { "\"\($0)\"" }.joined(separator: ", ")
        }
    }
}

extension KeyValueModel.Reply: CustomStringConvertible {
    /// What is answered, on one line.
    public var description: String {
        switch self {
        case .value(let value, let version): String(decoding: value, as: UTF8.self) + at(version)
        case .absent: "nothing there"
        case .notModified(let version): "not modified" + at(version)
        case .written(let version, let isNew): (isNew ? "created" : "replaced") + at(version)
        case .deleted: "deleted"
        case .sum(let sum, let version): "\(sum)" + at(version)
        case .conditionFailed(let version): "condition failed" + at(version)
        case .refused: "refused"
        }
    }

    private func at(_ version: Version?) -> String { version.map { " @\($0)" } ?? "" }
}

extension KeyValueModel.State: CustomStringConvertible {
    /// The value and its version, `@5` for this one, `@5…` for this or a greater one.
    public var description: String {
        "\(value.map { String(decoding: $0, as: UTF8.self) } ?? "nothing") @\(version)\(isExact ? "" : "…")"
    }
}
