/// Where a value, or a mistake, stands.
public enum ConfigurationSource: Hashable, Sendable, CustomStringConvertible {
    /// A place in the configuration file; line and column count from 1, columns in characters.
    case file(String, line: Int, column: Int)
    /// The environment variable of that name.
    case environment(String)
    /// A word of the command line: the option as it was written, and its place, the program's name being word 0.
    case argument(String, position: Int)
    /// The program itself: a default, or a value that it was given in code.
    case program

    /// `demo.yaml:3:9`, `AFFINITY_NODE_ID`, `--node.id` or `program`.
    public var description: String {
        switch self {
        case .file(let path, let line, let column): "\(Shown.word(path)):\(line):\(column)"
        case .environment(let name): Shown.word(name)
        case .argument(let option, _): Shown.word(option)
        case .program: "program"
        }
    }

    /// Which layer it is; the lower number counts.
    var precedence: Int {
        switch self {
        case .argument: 0
        case .environment: 1
        case .file: 2
        case .program: 3
        }
    }

    /// The order in which mistakes are listed: as a reader meets them, file first.
    var order: (Int, Int, Int, String) {
        switch self {
        case .file(let path, let line, let column): (0, line, column, path)
        case .environment(let name): (1, 0, 0, name)
        case .argument(let option, let position): (2, position, 0, option)
        case .program: (3, 0, 0, "")
        }
    }
}
