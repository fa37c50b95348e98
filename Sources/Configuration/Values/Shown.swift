/// How words from outside are shown in messages: on one line, bounded, and without bytes that a terminal obeys.
enum Shown {
    /// In quotes and at most 60 characters long.
    static func quoted(_ text: String) -> String { "\"\(escaped(text, limit: 60))\"" }

    /// Without quotes and at most 200 characters long: names of keys, files and variables.
    static func word(_ text: String) -> String { escaped(text, limit: 200) }

    private static func escaped(_ text: String, limit: Int) -> String {
        var shown = ""
        for (count, scalar) in text.unicodeScalars.enumerated() {
            guard count < limit else { return shown + "…" }
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse:
                shown += "\\u{\(String(scalar.value, radix: 16))}"
            default:
                shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }
}
