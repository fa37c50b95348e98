/// The name of one partition of one keyspace.
public struct PartitionID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The keyspace that the partition belongs to.
    public let keyspace: String
    /// The place of the partition in its keyspace: 0, 1, 2, ….
    public let number: Int

    /// Names partition `number` of `keyspace`.
    public init(keyspace: String, number: Int) {
        self.keyspace = keyspace
        self.number = number
    }

    /// By the keyspace, then by the number.
    public static func < (a: PartitionID, b: PartitionID) -> Bool {
        (a.keyspace, a.number) < (b.keyspace, b.number)
    }

    /// `keyspace/number`, as it stands in log lines.
    public var description: String { "\(keyspace)/\(number)" }
}

/// The name of a node of the system.
public struct NodeID: Hashable, Sendable, CustomStringConvertible {
    /// The name as the configuration gives it.
    public let description: String

    /// Names a node.
    public init(_ name: String) { description = name }
}

/// The strictly increasing number of a mastership of a partition.
///
/// The upper 48 bits are the *grant*, which the coordinator raises at each grant; the lower 16 are the *run*, which
/// the master raises itself when it has to begin anew under the same grant (PROTOCOL §1, W1).
public struct Epoch: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Grant and run in one number; its order is the order of epochs.
    public let rawValue: UInt64

    /// An epoch as it stands in a record.
    public init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The epoch of run `run` under grant `grant`.
    ///
    /// - Precondition: `grant` is below 2⁴⁸.
    public init(grant: UInt64, run: UInt16) {
        precondition(grant < 1 << 48, "a grant has 48 bits")
        rawValue = grant << 16 | UInt64(run)
    }

    /// Below every epoch that a coordinator grants.
    public static let none = Epoch(rawValue: 0)

    /// The number that the coordinator gave.
    public var grant: UInt64 { rawValue >> 16 }

    /// The number that the master counts itself.
    public var run: UInt16 { UInt16(truncatingIfNeeded: rawValue) }

    /// `grant.run`.
    public var description: String { "\(grant).\(run)" }

    /// Orders by grant, then by run.
    public static func < (a: Epoch, b: Epoch) -> Bool { a.rawValue < b.rawValue }
}

/// The place of a record in one changelog: 0, 1, 2, …, growing, with holes where compaction took records.
public struct Offset: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number that the log gave.
    public let rawValue: Int64

    /// The offset with that number.
    @inlinable public init(_ rawValue: Int64) { self.rawValue = rawValue }

    /// The first offset of every changelog.
    public static let zero = Offset(0)

    /// The offset that follows.
    @inlinable public var next: Offset { Offset(rawValue + 1) }

    /// The number, in decimal.
    public var description: String { String(rawValue) }

    /// Orders as the log does.
    @inlinable public static func < (a: Offset, b: Offset) -> Bool { a.rawValue < b.rawValue }
}

/// A positive number that grows with every change of an entry and of any other entry of its store and partition.
///
/// It is the offset of the entry's record + 1 (PROTOCOL §10), and so the same on every replica.
public struct Version: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    /// The number; 0 stands for no version.
    public let rawValue: UInt64

    /// The version with that number.
    @inlinable public init(_ rawValue: UInt64) { self.rawValue = rawValue }

    /// The version of what the record at `offset` wrote.
    @inlinable public init(at offset: Offset) { rawValue = UInt64(bitPattern: offset.rawValue &+ 1) }

    /// Below the version of every entry.
    public static let none = Version(0)

    /// The number, in decimal.
    public var description: String { String(rawValue) }

    /// Orders by age: what was written later is greater.
    @inlinable public static func < (a: Version, b: Version) -> Bool { a.rawValue < b.rawValue }

    /// The version that is coded as its number.
    public init(from decoder: any Decoder) throws { rawValue = try decoder.singleValueContainer().decode(UInt64.self) }

    /// Codes the version as its number.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

/// How far a replica has applied the changelogs of its partition: for each, the offset of the next record.
///
/// The changelogs stand in the order of their stores' names, the internal ones first.
public struct Position: Hashable, Sendable, CustomStringConvertible {
    /// One offset a changelog.
    public var offsets: [Offset]

    /// The position at those offsets.
    public init(_ offsets: [Offset]) { self.offsets = offsets }

    /// Whether a replica at this position has applied everything that one at `other` has.
    ///
    /// A changelog that one of the two does not know counts as not yet read: it was added or removed in between.
    public func covers(_ other: Position) -> Bool {
        for (index, offset) in other.offsets.enumerated() {
            let own = index < offsets.count ? offsets[index] : .zero
            if own < offset { return false }
        }
        return true
    }

    /// How many records lie between this position and `end`, 0 where this one is further.
    public func lag(behind end: Position) -> Int64 {
        zip(offsets, end.offsets).reduce(0) { sum, pair in
            // Positions come from outside too; a sum that no number can hold is the greatest one.
            guard pair.1 > pair.0 else { return sum }
            let (distance, isFar) = pair.1.rawValue.subtractingReportingOverflow(pair.0.rawValue)
            let (total, isLong) = sum.addingReportingOverflow(distance)
            return isFar || isLong ? .max : total
        }
    }

    /// The offsets, joined by dots: `1841.22`.
    public var description: String { offsets.map(\.description).joined(separator: ".") }

    /// Reads what `description` prints; `nil` for anything else.
    public init?(_ text: some StringProtocol) {
        var offsets: [Offset] = []
        for part in text.split(separator: ".", omittingEmptySubsequences: false) {
            guard part.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }), let number = Int64(part)
            else { return nil }
            offsets.append(Offset(number))
        }
        guard !offsets.isEmpty, offsets.count <= 256 else { return nil }
        self.offsets = offsets
    }
}
