extension ConfigurationReader {
    /// The longest secret that is read from a file; certificates with their chain and key have room in it.
    private static let secretMax: ByteCount = .kibibytes(64)

    /// Reads what must not be seen: a text, or `{ file: path }` to take it from a file.
    ///
    /// Also understood is the key with `.file` behind it, on the command line (`--storage.password.file PATH`) and in
    /// the environment. The file's last line break is no part of the secret; a relative path starts at the folder in
    /// which the process runs. No mistake and no reference ever shows the value.
    ///
    /// - Parameters:
    ///   - key: the key, below this reader's prefix.
    ///   - doc: what the key is for.
    /// - Returns: `nil` if nobody gave one.
    public func secret(_ key: String, doc: String) -> Secret? {
        let path = string("\(key).file", doc: "A file that holds \(fullName(key)).")
        let fileKey = configuration.layers.given(fullName("\(key).file")).first
        let kind = ValueKind(
            type: "secret", limits: nil, expected: "a text, or a map { file: path }", isSecret: true)
        let direct: Secret? = read(key, kind, default: nil, doc: doc, write: { $0?.description }) {
            given throws(Problem) in
            // The map is the form with a file; what stands in it was read above.
            if given.isGroup {
                guard fileKey == nil else { return nil }
                throw Problem(problem: "is a map without a file")
            }
            let text = try given.text()
            guard !text.isEmpty else { throw Problem(problem: "is empty") }
            return Secret(text)
        }
        guard let path, let fileKey else { return direct }
        // Both forms are one key: that of the higher layer counts, and within one layer there can be only one.
        if direct != nil, let other = configuration.layers.given(fullName(key)).first(where: { !$0.isGroup }) {
            if other.source.precedence == fileKey.source.precedence {
                reject("\(key).file", "is given, and so is \(fullName(key))", expected: "one of the two")
            }
            if other.source.precedence <= fileKey.source.precedence { return direct }
        }
        return read(file: path, key, fileKey.source)
    }

    private func read(file path: String, _ key: String, _ source: ConfigurationSource) -> Secret? {
        func mistake(_ problem: String) -> Secret? {
            configuration.reject(ConfigurationMistake(source, key: fullName("\(key).file"), problem))
            return nil
        }
        do throws(FileProblem) {
            var bytes = try FileBytes.read(path, limit: Self.secretMax.bytes)
            if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
            if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
            guard let text = String(validating: bytes, as: UTF8.self) else {
                return mistake("\(Shown.quoted(path)) is not UTF-8")
            }
            guard !text.isEmpty else { return mistake("\(Shown.quoted(path)) is empty") }
            return Secret(text)
        } catch {
            return mistake("\(Shown.quoted(path)) \(error.message)")
        }
    }
}
