internal import AffinityCore
internal import Glibc

extension Report {
    /// Connections wait to be accepted, because there is no descriptor, or no memory, for another one.
    static func starving(_ whose: String, _ error: Int32) -> Report {
        let reason = strerror(error).map { String(cString: $0) } ?? ""
        return Report(
            .warning, "connections cannot be accepted for now",
            [("of", whose), ("reason", reason), ("errno", "\(error)")])
    }
}
