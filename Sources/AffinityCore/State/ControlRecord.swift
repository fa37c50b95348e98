/// What a control record says (PROTOCOL §1): a claim announces an epoch, a settled says that its master serves.
///
/// The value is a small JSON object, so that whoever reads the topic can see what it is.
struct ControlRecord: Codable, Equatable {
    enum Kind: String, Codable { case claim, settled }

    var kind: Kind
    /// The random number of the log, in hexadecimal.
    var log: String
    /// Who wrote it.
    var node: String

    init(_ kind: Kind, log: UInt64, node: NodeID) {
        self.kind = kind
        self.log = String(log, radix: 16)
        self.node = node.description
    }

    var logNumber: UInt64? { UInt64(log, radix: 16) }

    var bytes: [UInt8] {
        // Three strings always have a JSON text.
        (try? JSONSerde<ControlRecord>().encode(self)) ?? []
    }

    init?(bytes: [UInt8]) {
        guard let record = try? JSONSerde<ControlRecord>().decode(bytes) else { return nil }
        self = record
    }
}
