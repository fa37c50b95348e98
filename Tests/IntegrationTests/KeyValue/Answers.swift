import AffinityTestSupport
import Foundation
import Testing

extension HTTPClient.Answer {
    /// The members of a JSON object.
    var members: [String: Any] { (try? JSONSerialization.jsonObject(with: Data(body))) as? [String: Any] ?? [:] }

    /// The partition of the `Affinity-Position`.
    var partition: Int? { position?.split(separator: ":").first.flatMap { Int($0) } }
}

/// A page of the list.
struct ListedPage: Decodable {
    struct Item: Decodable {
        var key: String
        var version: UInt64
    }

    var items: [Item]
    var next: String?
}

extension HTTPClient {
    func page(_ query: String) throws -> ListedPage {
        let answer = try ask("GET", "/kv?\(query)")
        try #require(answer.status == 200, "\(answer)")
        return try JSONDecoder().decode(ListedPage.self, from: Data(answer.body))
    }
}

/// As a query parameter's value.
func encoded(_ text: String) -> String {
    text.utf8.map { byte in
        let isPlain =
            byte < 0x80 && (Character(UnicodeScalar(byte)).isLetter || Character(UnicodeScalar(byte)).isNumber)
        return isPlain ? String(UnicodeScalar(byte)) : "%" + String(byte + 0, radix: 16, uppercase: true).padded
    }.joined()
}

extension String {
    fileprivate var padded: String { count < 2 ? "0" + self : self }
}
