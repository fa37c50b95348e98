/// A request's method: any token; those that are used have a name here.
public struct HTTPMethod: Hashable, Sendable, CustomStringConvertible {
    /// The method as it stands in the request; methods are case-sensitive.
    public let rawValue: String

    /// The method of that name.
    public init(_ rawValue: String) { self.rawValue = rawValue }

    /// `GET`
    public static let get = HTTPMethod("GET")
    /// `HEAD`
    public static let head = HTTPMethod("HEAD")
    /// `POST`
    public static let post = HTTPMethod("POST")
    /// `PUT`
    public static let put = HTTPMethod("PUT")
    /// `DELETE`
    public static let delete = HTTPMethod("DELETE")
    /// `PATCH`
    public static let patch = HTTPMethod("PATCH")
    /// `OPTIONS`
    public static let options = HTTPMethod("OPTIONS")

    /// The method as it stands in a request.
    public var description: String { rawValue }
}
