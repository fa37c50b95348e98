/// Writes values, and what is within them, into one buffer.
final class CBORWriter {
    var buffer = CBORBuffer()
    /// The encoder whose turn it is: of a value that is being written, all others wait or have ended.
    var writing: ObjectIdentifier?
    /// The first mistake that was made where nothing can be thrown.
    var failure: CBORError?

    /// Writes a value; what stands there if that throws has to be taken back.
    ///
    /// - Parameter key: where it stands within `parent`; `nil` if it is all that the parent writes.
    func write<T: Encodable>(_ value: T, within parent: CBOREncoder?, _ key: (any CodingKey)?) throws {
        if buffer.append(value) { return }
        let encoder = try CBOREncoder(self, within: parent, key)
        let outer = writing
        writing = ObjectIdentifier(encoder)
        defer { writing = outer }
        try value.encode(to: encoder)
        try encoder.finish()
    }

    /// Lets `body` write, and takes back what it has written if it throws.
    func undoingFailure(_ body: () throws -> Void) throws {
        let mark = buffer.mark
        do { try body() } catch {
            buffer.goBack(to: mark)
            throw error
        }
    }
}
