import Foundation
import Testing

/// Programs that the compiler must refuse: what makes a handler safe is checked before anything runs.
///
/// They are compiled against the module that the tests themselves were built with.
@Suite struct CompileTests {
    private static let prelude = """
        import AffinityCore

        struct Set: Command { typealias Reply = Int; let key: String }
        struct Get: Query { typealias Reply = Int; let key: String }
        func later(_ body: @escaping () -> Void) {}
        func slow() async {}

        """

    private func program(
        command: String = "tx[counts, set.key] = 1", query: String = "view[counts, get.key, default: 0]",
        effect: String = "", register: String = ""
    ) -> String {
        Self.prelude + """
            final class Counters: Partition {
                let counts = Store<String, Int>("counts")
                var kept = 0
                override class func register(_ on: Handlers) {
                    on.command(Set.self, set)
                    on.query(Get.self, get)
                    \(register)
                }
                func set(_ set: Set, _ tx: inout Transaction) throws(Rejected) -> Int {
                    \(command)
                    \(effect)
                    return 0
                }
                func get(_ get: Get, _ view: borrowing View) -> Int {
                    return \(query)
                }
            }
            """
    }

    @Test func aRightProgramCompiles() throws {
        #expect(try Compiler.diagnostics(of: program(effect: "tx.afterCommit { _ in await slow() }")) == "")
    }

    @Test func wrongProgramsDoNot() throws {
        let wrong: [(name: String, program: String, expected: [String])] = [
            ("a write in a query", program(query: "{ view[counts, get.key] = 1; return 0 }()"), ["get-only"]),
            (
                "await in a handler", program(command: "await slow()"),
                ["'async' call in a function that does not support"]
            ),
            (
                "a transaction kept", program(command: "let kept = tx; later { _ = kept.now }"),
                ["noncopyable", "missing reinitialization"]
            ),
            ("a transaction captured", program(command: "later { _ = tx.now }"), ["escaping closure captures 'inout'"]),
            ("a view captured", program(query: "{ later { _ = view.now }; return 0 }()"), ["noncopyable", "escaping"]),
            (
                "an instance captured in an effect", program(effect: "tx.afterCommit { _ in self.kept += 1 }"),
                ["non-Sendable type 'Counters'", "non-sendable type 'Counters'"]
            ),
            ("a store without a transaction", program(command: "_ = counts[set.key]"), ["no subscripts"]),
            ("an instance captured in the table", program(register: "_ = self.kept"), ["cannot be used on type"]),
        ]
        for (name, program, expected) in wrong {
            let diagnostics = try Compiler.diagnostics(of: program)
            #expect(expected.contains { diagnostics.contains($0) }, "\(name): \(diagnostics)")
        }
    }
}

/// The compiler of the toolchain that the tests run with.
private enum Compiler {
    private struct NotFound: Error { var what: String }

    /// The errors that the compiler has for `program`; empty for a good one.
    static func diagnostics(of program: String) throws -> String {
        let folder = FileManager.default.temporaryDirectory.appending(path: "affinity-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let source = folder.appending(path: "Program.swift")
        try Data(program.utf8).write(to: source)
        let output = Pipe()
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [
            // As far as the intermediate language: mistakes of ownership are found after the types are right.
            "swiftc", "-emit-sil", "-o", "/dev/null", "-parse-as-library", "-swift-version", "6", "-I", try modules(),
            "-module-cache-path", folder.appending(path: "cache").path(), source.path(),
        ]
        process.standardError = output
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return process.terminationStatus == 0 ? "" : text
    }

    /// The folder of the built modules: the test bundle lies in the build folder that has it, whatever its path.
    private static func modules() throws -> String {
        var folder = try bundle().deletingLastPathComponent()
        while folder.pathComponents.count > 1 {
            let modules = folder.appending(path: "Modules")
            if FileManager.default.fileExists(atPath: modules.appending(path: "AffinityCore.swiftmodule").path()) {
                return modules.path()
            }
            folder.deleteLastPathComponent()
        }
        throw NotFound(what: "Modules/AffinityCore.swiftmodule above \(try bundle().path())")
    }

    /// The program or bundle that these tests are in: on Linux an argument or the process itself names it.
    private static func bundle() throws -> URL {
        for argument in CommandLine.arguments where argument.contains(".xctest") {
            return URL(filePath: argument).standardizedFileURL
        }
        return URL(filePath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
    }
}
