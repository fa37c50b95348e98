internal import AffinityCore
internal import CZooKeeper

/// The codes of the C client, as the tree says them.
enum ZooKeeperErrors {
    /// The code's own words: `no node`.
    static func text(_ code: ZOO_ERRORS) -> String {
        guard let text = zerror(code.rawValue) else { return "error \(code.rawValue)" }
        return String(cString: text)
    }

    /// A failure of what was done to `path`.
    static func error(_ code: ZOO_ERRORS, _ path: String) -> TreeError {
        TreeError(kind(code), "\(path): \(text(code))")
    }

    /// Whether the answer got lost, and the same request may be sent again if it changes nothing.
    static func isLoss(_ code: ZOO_ERRORS) -> Bool {
        switch code {
        case ZCONNECTIONLOSS, ZOPERATIONTIMEOUT, ZSESSIONMOVED, ZTHROTTLEDOP, ZCLOSING: true
        default: false
        }
    }

    private static func kind(_ code: ZOO_ERRORS) -> TreeError.Code {
        switch code {
        // What follows the failed change of several has the code of an inconsistency.
        case ZNONODE, ZBADVERSION, ZNODEEXISTS, ZNOTEMPTY, ZNOCHILDRENFOREPHEMERALS, ZRUNTIMEINCONSISTENCY: .conflict
        case ZSESSIONEXPIRED, ZINVALIDSTATE: .ended
        case ZCONNECTIONLOSS, ZOPERATIONTIMEOUT, ZSESSIONMOVED, ZTHROTTLEDOP, ZCLOSING, ZSYSTEMERROR: .unknown
        default: .refused
        }
    }
}
