import Foundation

/// A file of commands, each with what comes of it.
///
/// A line that begins with a letter is a command; the lines below it, indented by four blanks, are its output. Lines that
/// begin with `#` are comments, and empty ones part what belongs together: both stay as they are.
struct Scenario: Equatable, CustomStringConvertible {
    enum Line: Equatable {
        case command(String)
        case output(String)
        case other(String)
    }

    var lines: [Line]

    init(text: String) {
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            if line.hasPrefix("    ") { return .output(String(line.dropFirst(4))) }
            return line.first?.isLetter == true ? .command(String(line)) : .other(String(line))
        }
    }

    /// The text of the file.
    var description: String {
        lines.map { line in
            switch line {
            case .command(let text), .other(let text): text
            case .output(let text): "    \(text)"
            }
        }.joined(separator: "\n")
    }

    /// The same commands, with what they say now.
    func run() throws -> Scenario {
        var result = self
        result.lines = []
        let interpreter = Interpreter()
        defer { interpreter.end() }
        for line in lines {
            switch line {
            case .output: continue
            case .other: result.lines.append(line)
            case .command(let text):
                result.lines.append(line)
                do { result.lines += try interpreter.run(text).map { .output($0) } } catch let mistake as Mistake {
                    throw Mistake("\(text): \(mistake.reason)")
                }
            }
        }
        return result
    }

    /// The first command whose output is another one than that of `other`, with both; `nil` if there is none.
    func difference(from other: Scenario) -> String? {
        guard self != other else { return nil }
        let (mine, others) = (parts, other.parts)
        let index = zip(mine, others).prefix { $0 == $1 }.count
        func shown(_ parts: [Scenario]) -> String { index < parts.count ? "\(parts[index])" : "nothing" }
        return "expected\n\(shown(others))\nbut there was\n\(shown(mine))"
    }

    /// Each command with its output.
    private var parts: [Scenario] {
        var parts = [Scenario(text: "")]
        for line in lines {
            if case .command = line { parts.append(Scenario(text: "")) }
            parts[parts.count - 1].lines.append(line)
        }
        return parts
    }
}

/// A script says what nobody understands.
struct Mistake: Error, CustomStringConvertible {
    let reason: String
    var description: String { reason }

    init(_ reason: String) { self.reason = reason }
}
