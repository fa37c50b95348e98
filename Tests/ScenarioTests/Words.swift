/// The words of a command, taken one after the other.
struct Words {
    let text: String
    let name: String
    private var rest: ArraySlice<String>

    init(_ text: String) {
        self.text = text
        let words = text.split(separator: " ").map(String.init)
        name = words.first ?? ""
        rest = words.dropFirst()
    }

    /// The next word, if there is one.
    mutating func next() -> String? { rest.popFirst() }

    mutating func word() throws -> String {
        guard let word = next() else { throw Mistake("a word is missing") }
        return word
    }

    mutating func number() throws -> Int {
        guard let number = Int(try word()) else { throw Mistake("a number is missing") }
        return number
    }

    /// `3s` or `250ms`.
    mutating func duration() throws -> Duration {
        let word = try word()
        let number = Int(word.prefix { $0.isNumber })
        switch (number, word.drop { $0.isNumber }) {
        case (let number?, "s"): return .seconds(number)
        case (let number?, "ms"): return .milliseconds(number)
        default: throw Mistake("\(word) is no duration")
        }
    }

    mutating func isOn() throws -> Bool {
        switch try word() {
        case "on": return true
        case "off": return false
        default: throw Mistake("`on` or `off`")
        }
    }

    mutating func node() throws -> String {
        let word = try word()
        guard word.hasPrefix("n") else { throw Mistake("\(word) is no node") }
        return word
    }

    mutating func nodes() throws -> [String] {
        var nodes = [try node()]
        while rest.first?.hasPrefix("n") == true { nodes.append(try node()) }
        return nodes
    }

    /// Whether that word comes next.
    mutating func flag(_ name: String) -> Bool {
        guard rest.first == name else { return false }
        rest.removeFirst()
        return true
    }

    /// `name` or `name=value`, before the address.
    mutating func option() -> (name: String, value: String)? {
        guard let word = rest.first, !word.hasPrefix("@") else { return nil }
        rest.removeFirst()
        return (String(word.prefix { $0 != "=" }), String(word.drop { $0 != "=" }.dropFirst()))
    }

    /// `@n1`: whom a request is sent to.
    mutating func address(_ nodes: [String]) throws -> String {
        let word = try word()
        guard word.hasPrefix("@"), nodes.contains(String(word.dropFirst())) else { throw Mistake("\(word) is no node") }
        return String(word.dropFirst())
    }

    /// Nothing may be left.
    func end() throws {
        if let word = rest.first { throw Mistake("\(word) is too much") }
    }
}
