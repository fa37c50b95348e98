/// The command line: `--key value`, `--key=value`, `--config FILE`, `--help`.
struct ArgumentLayer: Sendable {
    private(set) var given: [String: Given] = [:]
    private(set) var mistakes: [ConfigurationMistake] = []
    private(set) var wantsHelp = false
    /// The value of `--config`.
    private(set) var file: String?

    /// Reads the words behind the program's name.
    init(_ words: some Sequence<String>) {
        var rest = Array(words)[...]
        while let word = rest.popFirst() {
            // The name of the program is word 0.
            let position = rest.startIndex
            if word == "--help" || word == "-h" {
                wantsHelp = true
            } else if word.hasPrefix("--"), word.utf8.count > 2 {
                option(word, position, &rest)
            } else {
                // Not shown: it may be a secret that lost its option.
                let source = ConfigurationSource.argument("argument \(position)", position: position)
                mistakes.append(ConfigurationMistake(source, "is no option", expected: "--key value or --key=value"))
            }
        }
    }

    private mutating func option(_ word: String, _ position: Int, _ rest: inout ArraySlice<String>) {
        let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let key = parts.first.map(String.init) ?? ""
        let source = ConfigurationSource.argument("--\(key)", position: position)
        let value: String
        if parts.count == 2 {
            value = String(parts[1])
        } else if let next = rest.first, !next.hasPrefix("--") {
            value = next
            rest.removeFirst()
        } else {
            mistakes.append(ConfigurationMistake(source, "has no value", expected: "--\(Shown.word(key))=value"))
            return
        }
        if key == "config" {
            if file != nil { mistakes.append(ConfigurationMistake(source, "is given twice")) }
            file = file ?? value
        } else if given[key] != nil {
            mistakes.append(ConfigurationMistake(source, "is given twice"))
        } else {
            given[key] = Given(.text(value), source)
        }
    }
}
