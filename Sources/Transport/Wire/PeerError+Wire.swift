internal import AffinityCore

/// An error as it stands in a frame: code, whether the handler surely did not run, reason.
extension PeerError {
    /// The reason's bytes beyond this many are cut off.
    static let reasonLimit = 2048
    private static let codes: [Code] = [.unreachable, .overloaded, .refused, .deadline, .lost]

    /// The payload of a frame.
    var payload: [UInt8] {
        let number = Self.codes.firstIndex(of: code) ?? Self.codes.count - 1
        var reason = Array(self.reason.utf8.prefix(Self.reasonLimit))
        // Not in the middle of a character.
        if reason.count == Self.reasonLimit {
            while let last = reason.last, last & 0xC0 == 0x80 { reason.removeLast() }
            if let last = reason.last, last >= 0x80 { reason.removeLast() }
        }
        return [UInt8(number), isNotSent ? 1 : 0] + reason
    }

    /// Reads a payload; a code of a later version counts as `lost`.
    init(payload: UnsafeRawBufferPointer) throws(MalformedFrame) {
        var fields = FieldReader(payload)
        let number = Int(try fields.number(UInt8.self))
        let isNotSent = try fields.number(UInt8.self)
        guard isNotSent <= 1 else { throw MalformedFrame("an error says \(isNotSent) where 0 or 1 belongs") }
        let code = number < Self.codes.count ? Self.codes[number] : .lost
        self.init(code, isNotSent: isNotSent == 1, String(decoding: fields.rest, as: UTF8.self))
    }
}
