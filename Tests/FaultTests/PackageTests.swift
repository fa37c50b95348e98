import AffinityTestSupport
import Foundation
import Testing

extension Faults {
    /// A user's package that depends on this one by its path: what the README says to make.
    @Suite(.serialized) struct PackageTests {
        @Test func theReadmeShowsTheExampleWhichIsShort() throws {
            let example = try String(contentsOfFile: checkout + "/Examples/Counter/main.swift", encoding: .utf8)
            #expect(try Self.shown("Node.main") == example)
            #expect(example.split(separator: "\n", omittingEmptySubsequences: false).count <= 40)
        }

        @Test func noTargetUsesUnsafeFlags() throws {
            let manifest = try String(contentsOfFile: checkout + "/Package.swift", encoding: .utf8)
            #expect(!manifest.contains("unsafeFlags"))
        }

        @Test(.timeLimit(.minutes(20)))
        func theExampleBuildsAndRunsInAPackageOfItsOwn() async throws {
            let folder = try TemporaryFolder()
            try await onThread {
                let package = folder.path + "/hello"
                try Self.write(to: package)
                let swift = try Self.find("swift")
                let scratch = ["--package-path", package, "--scratch-path", folder.path + "/build"]
                let build = try Child(swift, ["build"] + scratch, folder: package)
                let code = try build.waitForExit(within: 1_100)
                #expect(code == 0, "\(build.text)")
                guard code == 0 else { return }
                let path = try Child(swift, ["build", "--show-bin-path"] + scratch, folder: package)
                #expect(try path.waitForExit() == 0)
                let program = (path.lines.last?.text ?? "") + "/hello"
                // As a user runs it: with its data in ./data.
                try Self.talk(to: program, in: package)
                #expect(FileManager.default.fileExists(atPath: package + "/data"))
            }
        }

        private static func talk(to program: String, in folder: String) throws {
            for count in [5, 10] {
                let service = try ServiceProcess(program, [], in: folder)
                try service.waitUntilReady()
                let connection = try service.connect()
                #expect(try connection.ask("POST", "/counters/visits", json: "5").text == "\(count)")
                #expect(try connection.ask("GET", "/counters/visits").text == "\(count)")
                #expect(try service.stop() == 0)
            }
        }

        /// Makes the package; the checkout is where it is.
        private static func write(to package: String) throws {
            let manifest = try shown("let package").replacing("../affinity", with: checkout)
                .replacing("package: \"affinity\"", with: "package: \"\(checkoutName)\"")
            try FileManager.default.createDirectory(
                atPath: package + "/Sources/hello", withIntermediateDirectories: true)
            try manifest.write(toFile: package + "/Package.swift", atomically: true, encoding: .utf8)
            try shown("Node.main").write(
                toFile: package + "/Sources/hello/main.swift", atomically: true, encoding: .utf8)
        }

        /// How SwiftPM calls a package that it finds in a folder.
        private static let checkoutName = URL(fileURLWithPath: checkout).lastPathComponent

        /// The first block of Swift in the README that has `text`.
        private static func shown(_ text: String) throws -> String {
            let readme = try String(contentsOfFile: checkout + "/README.md", encoding: .utf8)
            let blocks = readme.components(separatedBy: "```swift\n").dropFirst()
                .compactMap { $0.components(separatedBy: "```").first }
            return try #require(blocks.first { $0.contains(text) }, "the README shows no \(text)")
        }

        private static func find(_ program: String) throws -> String {
            let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
            let found = folders.map { "\($0)/\(program)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
            guard let found else { throw Failure("no \(program) on the PATH") }
            return found
        }
    }
}
