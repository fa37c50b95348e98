/// What a text has to be like, as a check and in words.
public struct TextRule: Sendable {
    /// The rule as it stands behind "expected": `a text that is not empty`.
    public let description: String
    private let accept: @Sendable (String) -> Bool

    /// A rule in words, and the check that decides it.
    ///
    /// - Parameters:
    ///   - description: a noun phrase that can stand behind "expected".
    ///   - accept: whether the text will do. It sees whatever somebody typed and must not trap on it.
    public init(_ description: String, accept: @escaping @Sendable (String) -> Bool) {
        self.description = description
        self.accept = accept
    }

    /// Whether the text keeps to the rule.
    public func accepts(_ text: String) -> Bool { accept(text) }

    /// Anything, the empty text included.
    public static let any = TextRule("a text") { _ in true }

    /// At least one character.
    public static let notEmpty = TextRule("a text that is not empty") { !$0.isEmpty }

    /// What can be part of names elsewhere (topics, nodes of ZooKeeper, files): 1…100 of `a-z A-Z 0-9 _ -`.
    public static let name = TextRule("a name of 1 to 100 letters, digits, hyphens and underscores") { text in
        (1...100).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}
