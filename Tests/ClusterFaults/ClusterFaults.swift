import AffinityTestSupport
import Foundation
import Glibc

/// Starts a system of many nodes, does to it what machines do, and checks what its clients have seen.
@main enum ClusterFaults {
    static func main() {
        do {
            let options = try Options(Array(CommandLine.arguments.dropFirst()))
            say("seed \(options.seed)")
            let isFine = try Run(options).run()
            say(isFine ? "all is well (seed \(options.seed))" : "FAILED (seed \(options.seed)); see \(options.folder)")
            exit(isFine ? 0 : 1)
        } catch {
            say("faults: \(error)")
            exit(64)
        }
    }
}

/// Prints a line at once, with the seconds since the beginning: whoever looks on wants to know what goes on.
func say(_ text: String) {
    let line = String(format: "%7.1f  ", Double(Journal.now - begun) / 1e9) + text + "\n"
    FileHandle.standardOutput.write(Data(line.utf8))
}

private let begun = Journal.now
