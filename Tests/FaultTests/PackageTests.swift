import AffinityTestSupport
import Foundation
import Testing

extension Faults {
    /// A user's package that depends on this one by its path and is nothing but the example.
    @Suite(.serialized) struct PackageTests {
        private static let example = checkout + "/Examples/Counter/main.swift"

        @Test func theExampleIsShort() throws {
            let text = try String(contentsOfFile: Self.example, encoding: .utf8)
            #expect(text.split(separator: "\n", omittingEmptySubsequences: false).count <= 40)
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
                var mains = ["hello": try String(contentsOfFile: Self.example, encoding: .utf8)]
                if let shown = Self.exampleInReadme(), shown != mains["hello"] { mains["shown"] = shown }
                try Self.write(mains, to: package)
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

        private static func write(_ mains: [String: String], to package: String) throws {
            let targets = mains.keys.sorted().map { name in
                """
                .executableTarget(name: "\(name)", dependencies: [.product(name: "Affinity", package: "\(checkoutName)")])
                """
            }
            let manifest = """
                // swift-tools-version: 6.2
                import PackageDescription

                let package = Package(
                    name: "hello",
                    dependencies: [.package(path: "\(checkout)")],
                    targets: [\(targets.joined(separator: ", "))]
                )
                """
            for (name, main) in mains {
                let sources = "\(package)/Sources/\(name)"
                try FileManager.default.createDirectory(atPath: sources, withIntermediateDirectories: true)
                try main.write(toFile: sources + "/main.swift", atomically: true, encoding: .utf8)
            }
            try manifest.write(toFile: package + "/Package.swift", atomically: true, encoding: .utf8)
        }

        /// How SwiftPM calls a package that it finds in a folder.
        private static let checkoutName = URL(fileURLWithPath: checkout).lastPathComponent

        /// The first program in the README.
        private static func exampleInReadme() -> String? {
            guard let text = try? String(contentsOfFile: checkout + "/README.md", encoding: .utf8) else {
                return nil
            }
            let blocks = text.components(separatedBy: "```swift\n").dropFirst()
            return blocks.compactMap { $0.components(separatedBy: "```").first }.first { $0.contains("Node.main") }
        }

        private static func find(_ program: String) throws -> String {
            let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
            let found = folders.map { "\($0)/\(program)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
            guard let found else { throw Failure("no \(program) on the PATH") }
            return found
        }
    }
}
