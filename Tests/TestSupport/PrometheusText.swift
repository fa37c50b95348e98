import Foundation

/// What `/metrics` says: each number by its name and labels as they stand there.
package struct PrometheusText {
    package let text: String
    private let numbers: [String: Double]

    package init(_ text: String) {
        self.text = text
        var numbers: [String: Double] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            guard let space = line.lastIndex(of: " ") else { continue }
            numbers[String(line[..<space])] = Double(line[line.index(after: space)...])
        }
        self.numbers = numbers
    }

    package subscript(name: String) -> Double? { numbers[name] }

    /// The sum of a metric's numbers over all labels.
    package func sum(_ name: String) -> Double {
        numbers.reduce(0) { $0 + ($1.key == name || $1.key.hasPrefix(name + "{") ? $1.value : 0) }
    }

    /// What Prometheus' own check says of the text; `nil` if that program is not installed.
    package func complaints() throws -> String? {
        let program = ["/usr/bin/promtool", "/usr/local/bin/promtool"].first(
            where: FileManager.default.isExecutableFile)
        guard let program else {
            print("promtool is not installed (scripts/setup does it): the metrics are not checked by it")
            return nil
        }
        let process = Process()
        let (input, output) = (Pipe(), Pipe())
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = ["check", "metrics"]
        process.standardInput = input
        process.standardOutput = output
        process.standardError = output
        try process.run()
        input.fileHandleForWriting.write(Data(text.utf8))
        try input.fileHandleForWriting.close()
        let said = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return process.terminationStatus == 0 ? "" : said + "promtool ended with \(process.terminationStatus)"
    }
}

extension HTTPClient {
    /// What `/metrics` says now.
    package func metrics() throws -> PrometheusText {
        let answer = try ask("GET", "/metrics")
        guard answer.status == 200 else { throw Failure("\(answer)") }
        return PrometheusText(answer.text)
    }
}
