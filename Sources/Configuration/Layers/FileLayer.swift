/// The configuration file: its tree, laid out as dotted keys.
struct FileLayer: Sendable {
    /// Values and maps by key; maps are in it as `.group`.
    private(set) var given: [String: Given] = [:]
    private(set) var mistakes: [ConfigurationMistake] = []
    private let path: String

    /// A configuration has some hundred lines; this is room for a thousand times as much.
    static let bytesMax: ByteCount = .mebibytes(1)

    /// No file.
    init() { path = "" }

    /// Reads the file at `path`; what is wrong with it is in `mistakes`.
    init(path: String) {
        do throws(FileProblem) {
            self.init(bytes: try FileBytes.read(path, limit: Self.bytesMax.bytes), path: path)
        } catch {
            self.init()
            let source = ConfigurationSource.file(path, line: 1, column: 1)
            mistakes = [ConfigurationMistake(source, "the configuration file \(error.message)")]
        }
    }

    /// Reads a file's content; `path` is what messages call it.
    init(bytes: [UInt8], path: String) {
        self.path = path
        guard bytes.count <= Self.bytesMax.bytes else {
            mistakes = [ConfigurationMistake(place(YAMLMark(line: 1, column: 1)), "is longer than \(Self.bytesMax)")]
            return
        }
        do throws(YAMLProblem) {
            guard let root = try YAMLNode.parse(bytes) else { return }
            switch root.content {
            case .map(let entries): add(entries, under: "")
            case .null: break
            case .scalar, .list:
                let source = place(root.mark)
                mistakes = [
                    ConfigurationMistake(source, "is no map", expected: "keys with values, as in `node: { id: n1 }`")
                ]
            }
        } catch {
            // Half a file would only make for more mistakes that are none.
            given = [:]
            mistakes = [ConfigurationMistake(place(error.mark), error.message)]
        }
    }

    private func place(_ mark: YAMLMark) -> ConfigurationSource {
        .file(path, line: mark.line, column: mark.column)
    }

    private mutating func add(_ entries: [YAMLNode.Entry], under prefix: String) {
        for entry in entries {
            // `gateway.limits: { … }` is understood as well as the nested form, since that is how keys are called.
            let key = prefix.isEmpty ? entry.key : "\(prefix).\(entry.key)"
            if let first = given[key] {
                mistakes.append(
                    ConfigurationMistake(place(entry.mark), key: key, "stands twice, at \(first.keySource) too"))
                continue
            }
            let value: Given.Value
            switch entry.value.content {
            case .null: value = .nothing
            case .scalar(let text): value = .text(text)
            case .list(let nodes): value = .list(nodes.map(item))
            case .map: value = .group
            }
            given[key] = Given(value, place(entry.value.mark), keySource: place(entry.mark))
            if case .map(let inner) = entry.value.content { add(inner, under: key) }
        }
    }

    private func item(_ node: YAMLNode) -> Given.Item {
        guard case .scalar(let text) = node.content else { return Given.Item(text: nil, source: place(node.mark)) }
        return Given.Item(text: text, source: place(node.mark))
    }
}
