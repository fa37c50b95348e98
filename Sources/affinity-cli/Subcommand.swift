/// One command of the tool: what `--help` says of it, and what it does.
struct Subcommand: Sendable {
    /// One word or two: `status`, `log dump`.
    let name: String
    /// What stands behind the name: `KEY [VALUE]`.
    let arguments: String
    /// What it does, in one line.
    let summary: String
    /// The options that it takes, besides `--json` and `--help`.
    let options: [Option]
    /// Whether it takes the keys of a node's configuration: `--config FILE`, `--node.data PATH`, ….
    let takesConfiguration: Bool
    /// Further lines for its own `--help`.
    let details: String
    /// How many words it takes behind its name.
    let words: ClosedRange<Int>
    /// Does it; whatever it has to say goes to standard output.
    let run: @Sendable (Invocation) throws -> Void

    init(
        _ name: String, arguments: String = "", words: ClosedRange<Int> = 0...0, _ summary: String,
        options: [Option] = [], takesConfiguration: Bool = false, details: String = "",
        run: @escaping @Sendable (Invocation) throws -> Void
    ) {
        self.name = name
        self.arguments = arguments
        self.words = words
        self.summary = summary
        self.options = options
        self.takesConfiguration = takesConfiguration
        self.details = details
        self.run = run
    }

    /// What `affinity NAME --help` prints.
    var usage: String {
        var first = "usage: affinity \(name)"
        if !arguments.isEmpty { first += " \(arguments)" }
        let all = options + [.json, .help]
        let width = all.map(\.form.count).max() ?? 0
        var lines = [first + " [OPTION…]", "", summary + "."]
        if !details.isEmpty { lines += ["", details] }
        lines += [""] + all.map { "  \($0.form.padded(to: width))  \($0.meaning)" }
        if takesConfiguration {
            lines += ["", "The configuration is given as to a node: --config FILE, and keys like --node.data DIR."]
        }
        return lines.joined(separator: "\n")
    }
}

/// An option, with two hyphens before its name.
struct Option: Sendable {
    let name: String
    /// What stands behind it; `nil` for an option that is only there or not.
    let value: String?
    let meaning: String

    init(_ name: String, _ value: String? = nil, _ meaning: String) {
        self.name = name
        self.value = value
        self.meaning = meaning
    }

    static let json = Option("json", nil, "for programs: one JSON text, or one a line")
    static let help = Option("help", nil, "this")

    var form: String { "--\(name)" + (value.map { " \($0)" } ?? "") }
}

/// The command line, taken apart.
struct Invocation: Sendable {
    /// The words behind the command's name.
    fileprivate(set) var words: [String] = []
    /// What was given for each option; empty for one that takes nothing.
    fileprivate(set) var options: [String: String] = [:]
    /// Options that are keys of a node's configuration, as they stood.
    fileprivate(set) var configuration: [String] = []

    var wantsJSON: Bool { options["json"] != nil }

    subscript(option: String) -> String? { options[option] }

    /// A number that an option gives.
    func number<Number: FixedWidthInteger>(_ option: String, in range: ClosedRange<Number>) throws -> Number? {
        guard let text = self[option] else { return nil }
        guard let number = Number(text), range.contains(number) else {
            throw Failure(.usage, "--\(option) takes a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}

extension Invocation {
    /// Finds the command that the words name, and checks that it takes what was given.
    ///
    /// - Returns: no command if help is wanted for the tool as a whole.
    /// - Throws: `Failure` for a call that makes no sense.
    static func read(
        _ arguments: [String], _ commands: [Subcommand]
    ) throws -> (command: Subcommand?, call: Invocation) {
        var call = try Invocation(arguments, commands.flatMap(\.options) + [.json, .help])
        let command = commands.first { command in
            call.words.starts(with: command.name.split(separator: " ").map(String.init))
        }
        guard let command else {
            if call.options["help"] != nil { return (nil, call) }
            let word = call.words.first
            throw Failure(.usage, word.map { "there is no command \($0)" } ?? "which command?")
        }
        call.words.removeFirst(command.name.split(separator: " ").count)
        if call.options["help"] != nil { return (command, call) }
        try call.check(against: command)
        return (command, call)
    }

    private init(_ arguments: [String], _ known: [Option]) throws {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            if word == "-h" {
                options["help"] = ""
            } else if !word.hasPrefix("--") {
                words.append(word)
            } else if word == "--" {
                words += rest
                rest = []
            } else {
                try take(word, &rest, known)
            }
        }
    }

    private mutating func take(_ word: String, _ rest: inout ArraySlice<String>, _ known: [Option]) throws {
        let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        let isKey = name == "config" || name == "system" || name.contains(".")
        let option = known.first { $0.name == name }
        guard option != nil || isKey else { throw Failure(.usage, "there is no option --\(name)") }
        if let option, option.value == nil {
            guard parts.count == 1 else { throw Failure(.usage, "--\(name) takes no value") }
            options[name] = ""
            return
        }
        let value = parts.count == 2 ? String(parts[1]) : rest.popFirst()
        guard let value else { throw Failure(.usage, "--\(name) needs a value") }
        if isKey {
            configuration += ["--\(name)=\(value)"]
        } else if options.updateValue(value, forKey: name) != nil {
            throw Failure(.usage, "--\(name) is given twice")
        }
    }

    private func check(against command: Subcommand) throws {
        let names = Set((command.options + [.json]).map(\.name))
        if let option = options.keys.filter({ !names.contains($0) }).min() {
            throw Failure(.usage, "\(command.name) takes no --\(option)", command)
        }
        if !command.takesConfiguration, let key = configuration.first {
            throw Failure(.usage, "\(command.name) takes no \(key.prefix { $0 != "=" })", command)
        }
        guard command.words.contains(words.count), !words.contains("") else {
            throw Failure(.usage, "that are not the words that \(command.name) takes", command)
        }
    }
}

/// What a program that calls the tool learns from its exit code.
enum ExitCode: Int32 {
    case done = 0
    case refused = 1
    case usage = 2
    case unavailable = 3
    case unknown = 4

    static let meanings = """
        Exit codes: 0  done
                    1  no: nothing is there, a condition does not hold, the node refuses, mistakes were found
                    2  a call that makes no sense
                    3  nobody answers, or not now; nothing was changed, try again
                    4  unknown: the request was sent, and whether it was applied is not known
        """
}

/// Why a command ends without having done what it was asked for.
struct Failure: Error {
    let exit: ExitCode
    let text: String
    /// Whose usage is to be shown.
    var command: Subcommand?

    init(_ exit: ExitCode, _ text: String, _ command: Subcommand? = nil) {
        self.exit = exit
        self.text = text
        self.command = command
    }
}
