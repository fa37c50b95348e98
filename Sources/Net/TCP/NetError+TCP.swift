internal import Glibc

extension NetError {
    /// Why a connection did not come about, or ended: an `errno`.
    init(connection code: Int32) {
        let text = strerror(code).map { String(cString: $0) } ?? ""
        let kind: Code =
            switch code {
            case ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN: .unreachable
            case ETIMEDOUT: .timedOut
            case EADDRNOTAVAIL, EAFNOSUPPORT: .badAddress
            case EACCES, EPERM: .notPermitted
            case EMFILE, ENFILE, ENOBUFS, ENOMEM: .noResources
            case ECANCELED: .closed
            default: .system
            }
        self.init(kind, text, underlying: code)
    }
}
