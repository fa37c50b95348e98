import Affinity

/// An account: `north:7` is number 7 of the branch `north`.
///
/// The branch alone decides the partition, so that a command can write to several accounts of one branch.
struct Account: StoreKey, LosslessStringConvertible, Codable {
    let branch: String
    let number: Int

    var route: String { branch }
    var description: String { "\(branch):\(number)" }

    /// Reads `branch:number`; each account has one text only.
    init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, (1...32).contains(parts[0].utf8.count), parts[0].utf8.allSatisfy(Self.isInName),
            let number = Int(parts[1]), number > 0, "\(number)" == parts[1]
        else { return nil }
        self.init(branch: String(parts[0]), number: number)
    }

    init(branch: String, number: Int) {
        self.branch = branch
        self.number = number
    }

    private static func isInName(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || byte == UInt8(ascii: "-")
    }
}

/// What is in an account.
struct Balance: Codable, Hashable, Sendable {
    var cents = 0
    /// How many movements have led to it; the number of the last one.
    var movements = 0
}

/// One change of an account's balance.
struct Movement: Codable, Hashable, Sendable {
    /// What came in; negative for what went out.
    let cents: Int
    /// What was in the account then.
    let balance: Int
    /// Where it came from or went to; `nil` at the counter.
    let other: Account?

    /// Where a movement stands: with its account, in the order of the numbers.
    struct Key: StoreKey, LosslessStringConvertible {
        let account: Account
        let number: Int

        var route: String { account.branch }
        /// With leading zeros, so that the order of the bytes is that of the numbers.
        var description: String { "\(account):" + String(String(number + Self.first).dropFirst()) }

        private static let first = 1_000_000_000_000

        /// What the keys of an account's movements begin with.
        static func prefix(of account: Account) -> [UInt8] { Array("\(account):".utf8) }

        init(_ account: Account, _ number: Int) {
            self.account = account
            self.number = number
        }

        init?(_ text: String) {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 3, let account = Account("\(parts[0]):\(parts[1])"), let number = Int(parts[2]) else {
                return nil
            }
            self.init(account, number)
        }
    }
}
