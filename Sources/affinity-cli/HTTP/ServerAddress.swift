import AffinityGateway

/// Where a node is asked: `http://host:port`, and a path that all of it is below.
struct ServerAddress: CustomStringConvertible {
    /// As it was given.
    let description: String
    let host: String
    let port: Int
    /// Without a slash at its end.
    let base: String

    /// `nil` for what is no such address. `https` is none: nodes have no TLS, and neither has the tool.
    init?(_ text: String) {
        let scheme = "http://"
        guard text.hasPrefix(scheme) else { return nil }
        let rest = text.dropFirst(scheme.count)
        let path = rest.firstIndex(of: "/") ?? rest.endIndex
        var authority = rest[..<path]
        if authority.last == "]" || !authority.contains(":") { authority += ":80" }
        guard let place = GatewayConfiguration.Listener(scheme + authority), place.port > 0 else { return nil }
        var base = rest[path...]
        while base.last == "/" { base.removeLast() }
        guard base.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), !base.contains(where: { "?#".contains($0) })
        else { return nil }
        description = text
        (host, port) = (place.host, place.port)
        self.base = String(base)
    }

    /// What the header `Host` says.
    var authority: String { (host.contains(":") ? "[\(host)]" : host) + ":\(port)" }
}

extension String {
    /// As one segment of a path.
    var segment: String {
        var text = ""
        for byte in utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
                UInt8(ascii: "~"):
                text.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                text += "%" + (digits.count == 1 ? "0" : "") + digits
            }
        }
        return text
    }
}
