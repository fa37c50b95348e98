/// What a frame is about.
///
/// A connection is a sequence of frames in both directions. Who opened it *asks*, who accepted it *answers*; numbers are
/// big-endian, texts are UTF-8, `name` is a byte with a length and as many bytes.
///
///     length    4   of all that follows
///     kind      1
///     id        8   of the request; 0 where there is none
///     payload
///
/// | kind | from | payload |
/// |---|---|---|
/// | hello | asker | `AFLK`, version (2), flags (1; 1: it has a secret), nonce (32), name: system, name: node that asks, name: node that is meant |
/// | challenge | answerer | nonce (32); only if both have a secret |
/// | proof | asker | HMAC (32) |
/// | welcome | answerer | HMAC (32), or nothing without a secret |
/// | refusal | either | why, as text; the connection ends |
/// | request | asker | milliseconds that are left (4; all ones: no deadline), name: type, body |
/// | response | answerer | body |
/// | error | answerer | code (1), whether the handler surely did not run (1), reason |
/// | cancel | asker | nothing: no answer is awaited any more |
/// | ping, pong | either | nothing |
/// | goodbye | either | why, as text. From the answerer: open no more requests here; the asker says it too when its last is sent, and the answerer ends when all are answered. With a mistake as its reason, the end follows at once |
///
/// The proofs are HMAC-SHA-256 under the secret over a label that names the side, the hello's payload, and the
/// challenge: so none can be used again, nor for the other direction or another node. The asker proves first, so whoever
/// merely connects gets nothing that was made with the secret.
///
/// An id's lower half is a place in the asker's table, from 0 and as low as possible; the upper half counts the uses of
/// the place. So both sides find a request in an array.
enum FrameKind: UInt8 {
    case hello = 1
    case challenge, proof, welcome, refusal
    case request, response, error, cancel
    case ping, pong, goodbye
}

/// What stands at the beginning of every frame.
enum FrameHeader {
    /// Bytes of length, kind and id.
    static let count = 13
    /// The part of it that its length does not count.
    static let uncounted = 4
    /// The most that a frame may have before the other side is known.
    static let greetingLimit = 1024
}

/// The version of all this.
let protocolVersion: UInt16 = 1

/// Why what the other side sends cannot be read: the connection ends.
struct MalformedFrame: Error {
    let reason: String
    init(_ reason: String) { self.reason = reason }
}

/// One frame, as it came.
struct Frame {
    let kind: FrameKind
    let id: UInt64
    /// Valid until the next frame is read.
    let payload: UnsafeRawBufferPointer
    /// Whether it had more bytes than allowed: they are skipped, and the payload is empty.
    var isBeyondLimit = false
}
