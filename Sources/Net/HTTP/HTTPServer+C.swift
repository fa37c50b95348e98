internal import AffinityCore
internal import CBeast
internal import Glibc

extension cb_server_options {
    init(_ configuration: HTTPServerConfiguration, constant: Bool) {
        self.init(
            target_max: configuration.targetLimit,
            header_section_max: configuration.headerSectionLimit,
            header_count_max: configuration.headerCountLimit,
            body_max: configuration.bodyLimit,
            connections_max: configuration.connectionLimit,
            unsent_max: configuration.unsentLimit,
            idle_ns: configuration.idleTime.wholeNanoseconds,
            header_read_ns: configuration.headerReadTime.wholeNanoseconds,
            body_read_ns: configuration.bodyReadTime.wholeNanoseconds,
            write_ns: configuration.writeTime.wholeNanoseconds,
            linger_ns: configuration.lingerTime.wholeNanoseconds,
            constant: constant)
    }
}

extension NetError {
    /// Why listening at `address` failed: an `errno`, or one of the resolver's codes.
    init(binding address: String, code: Int32, isResolver: Bool) {
        let text = (isResolver ? gai_strerror(code) : UnsafePointer(strerror(code))).map { String(cString: $0) } ?? ""
        let kind: Code =
            switch code {
            case _ where isResolver: .badAddress
            case EADDRINUSE: .addressInUse
            case EADDRNOTAVAIL: .badAddress
            case EACCES, EPERM: .notPermitted
            case EMFILE, ENFILE, ENOBUFS, ENOMEM: .noResources
            case ECANCELED: .closed
            default: .system
            }
        self.init(kind, "cannot listen at \(address): \(text)", underlying: isResolver ? 0 : code)
    }
}
