import AffinityTestSupport
import Foundation
import Testing

/// Runs `affinity`; gives what it printed, and its exit code.
func affinity(
    _ words: [String], environment: [String: String] = [:], in folder: String? = nil
) throws -> (text: String, exit: Int32) {
    let child = try Child(Programs.affinity, words, environment: environment, folder: folder)
    let exit = try child.waitForExit()
    return (child.text, exit)
}

func affinity(
    _ words: String..., environment: [String: String] = [:]
) throws -> (text: String, exit: Int32) { try affinity(words, environment: environment) }

/// What the tool printed, as JSON.
func parsed<Value: Decodable>(_ text: some StringProtocol, as type: Value.Type = Value.self) throws -> Value {
    try JSONDecoder().decode(type, from: Data(text.utf8))
}
