internal import Foundation

/// The words behind a program's name: pairs of `--name value`.
package struct Arguments {
    private var values: [String: String] = [:]

    /// Reads the process's own; ends it with a message for anything that is not a pair of a known name.
    package init(_ names: String...) {
        var words = CommandLine.arguments.dropFirst()
        while let word = words.popFirst() {
            let name = String(word.dropFirst(2))
            guard word.hasPrefix("--"), names.contains(name), let value = words.popFirst() else {
                Self.fail("usage: " + names.map { "[--\($0) VALUE]" }.joined(separator: " "))
            }
            values[name] = value
        }
    }

    /// The text under `name`.
    package func text(_ name: String, default text: String) -> String { values[name] ?? text }

    /// The number under `name`.
    package func number(_ name: String, default number: Int) -> Int {
        guard let text = values[name] else { return number }
        guard let number = Int(text), number > 0 else { Self.fail("--\(name) takes a positive number, not \(text)") }
        return number
    }

    private static func fail(_ reason: String) -> Never {
        FileHandle.standardError.write(Data("\(reason)\n".utf8))
        exit(64)
    }
}

/// Prints one figure, as every benchmark program does: name, value and unit, with tabs between them.
package func printFigure(_ name: String, _ value: Double, _ unit: String) {
    let rounded = (value * 1000).rounded() / 1000
    print("\(name)\t\(rounded)\t\(unit)")
}
