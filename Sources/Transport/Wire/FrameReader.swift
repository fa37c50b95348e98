/// Cuts frames out of the bytes of a connection.
///
/// Called by `FrameStream`. A frame that came whole is read where it lies; one that comes in pieces is gathered in a
/// buffer that grows with what came, not with what was announced, and is kept for the next.
struct FrameReader: ~Copyable {
    /// The most bytes that a frame may have, with its header.
    var limit: Int
    private var held = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var heldCount = 0
    private var skip = 0
    private static let keptCapacity = 64 * 1024

    init(limit: Int) { self.limit = limit }

    deinit { held.deallocate() }

    /// The next frame; `nil` once all of `rest` is used. Takes what it used away from `rest`.
    ///
    /// The frame's payload is valid until the next call, and as long as the bytes of `rest` are.
    mutating func next(_ rest: inout UnsafeRawBufferPointer) throws(MalformedFrame) -> Frame? {
        giveBack()
        skipSome(&rest)
        if heldCount == 0, rest.count >= FrameHeader.count {
            let header = try Header(rest, limit)
            if header.isBeyondLimit { return begin(skipping: header, &rest) }
            if rest.count >= header.total { return header.frame(take(header.total, &rest)) }
        }
        return try nextHeld(&rest)
    }

    private mutating func nextHeld(_ rest: inout UnsafeRawBufferPointer) throws(MalformedFrame) -> Frame? {
        guard hold(FrameHeader.count, &rest) else { return nil }
        let header = try Header(UnsafeRawBufferPointer(held), limit)
        if header.isBeyondLimit {
            heldCount = 0
            skip = header.total - FrameHeader.count
            return header.frame(nil)
        }
        guard hold(header.total, &rest) else { return nil }
        heldCount = 0
        return header.frame(UnsafeRawBufferPointer(rebasing: held[..<header.total]))
    }

    /// Gathers until `count` bytes are held; false if there are not as many.
    private mutating func hold(_ count: Int, _ rest: inout UnsafeRawBufferPointer) -> Bool {
        guard heldCount < count else { return true }
        let more = take(min(count - heldCount, rest.count), &rest)
        if more.count > 0 {
            makeRoom(heldCount + more.count)
            UnsafeMutableRawBufferPointer(rebasing: held[heldCount...]).copyMemory(from: more)
            heldCount += more.count
        }
        return heldCount == count
    }

    private mutating func makeRoom(_ count: Int) {
        guard count > held.count else { return }
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, held.count * 2, 1024), alignment: 8)
        room.copyMemory(from: UnsafeRawBufferPointer(rebasing: held[..<heldCount]))
        held.deallocate()
        held = room
    }

    /// A connection that waits keeps no more than it mostly needs.
    private mutating func giveBack() {
        guard heldCount == 0, held.count > Self.keptCapacity else { return }
        held.deallocate()
        held = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    }

    private mutating func begin(skipping header: Header, _ rest: inout UnsafeRawBufferPointer) -> Frame {
        _ = take(FrameHeader.count, &rest)
        skip = header.total - FrameHeader.count
        return header.frame(nil)
    }

    private mutating func skipSome(_ rest: inout UnsafeRawBufferPointer) {
        guard skip > 0 else { return }
        skip -= take(min(skip, rest.count), &rest).count
    }

    private func take(_ count: Int, _ rest: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let taken = UnsafeRawBufferPointer(rebasing: rest[..<count])
        rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        return taken
    }
}

/// A header, checked.
private struct Header {
    let kind: FrameKind
    let id: UInt64
    let total: Int
    let isBeyondLimit: Bool

    init(_ bytes: UnsafeRawBufferPointer, _ limit: Int) throws(MalformedFrame) {
        let length = Int(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        guard length >= FrameHeader.count - FrameHeader.uncounted else { throw MalformedFrame("a frame is too short") }
        guard let kind = FrameKind(rawValue: bytes[4]) else {
            throw MalformedFrame("there is no frame of kind \(bytes[4])")
        }
        self.kind = kind
        id = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 5, as: UInt64.self))
        total = length + FrameHeader.uncounted
        isBeyondLimit = total > limit
    }

    /// The frame of which `bytes` are the whole, or nothing is kept.
    func frame(_ bytes: UnsafeRawBufferPointer?) -> Frame {
        guard let bytes else {
            return Frame(
                kind: kind, id: id, payload: UnsafeRawBufferPointer(start: nil, count: 0), isBeyondLimit: true)
        }
        return Frame(kind: kind, id: id, payload: UnsafeRawBufferPointer(rebasing: bytes[FrameHeader.count...]))
    }
}
