/// Something that an operator should know, from a part that must not write log lines itself.
public struct Report: Sendable {
    /// How much it matters.
    public enum Level: Int, Comparable, Sendable, CaseIterable {
        /// Of use to whoever looks for a defect.
        case debug
        /// The course of things.
        case info
        /// Something is not as it should be; the service goes on.
        case warning
        /// Something failed, and somebody has to look.
        case error

        /// The less important level is the smaller one.
        public static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
    }

    /// How much it matters.
    public var level: Level
    /// What happened: a sentence without the particulars, so that lines of one kind are alike.
    public var message: String
    /// The particulars.
    public var fields: [(name: String, value: String)]

    /// A report of those parts.
    public init(_ level: Level, _ message: String, _ fields: [(name: String, value: String)] = []) {
        self.level = level
        self.message = message
        self.fields = fields
    }
}

/// Where reports go. Called on any thread; must return quickly.
public typealias Reporter = @Sendable (Report) -> Void
