/// The paths of a `CoordinationTree`: `/`, or names that each follow a slash.
package enum TreePath {
    /// Why `path` names no node; `nil` if it does. The rules are ZooKeeper's.
    package static func problem(_ path: String) -> String? {
        if path == "/" { return nil }
        guard path.utf8.first == UInt8(ascii: "/") else { return "it does not begin with a slash" }
        for name in path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            if name.isEmpty { return "a name is empty" }
            if name.elementsEqual(".".utf8) || name.elementsEqual("..".utf8) { return "a name is relative" }
        }
        return path.unicodeScalars.allSatisfy(isAllowed) ? nil : "it has a character that no name can have"
    }

    /// The path of the node that this one is a child of; the root's is the root.
    package static func parent(_ path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")), slash > path.startIndex else { return "/" }
        return String(path[..<slash])
    }

    /// What stands behind the last slash.
    package static func name(_ path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return path }
        return String(path[path.utf8.index(after: slash)...])
    }

    private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        // The last range is all that Java writes with surrogates.
        case 0...0x1f, 0x7f...0x9f, 0xd800...0xf8ff, 0xfff0...: false
        default: true
        }
    }
}
