import Foundation

// `affinity`: what operators and other people want of a system, in one command of `Commands/` each.

func complain(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

// Whoever reads the output may go away before its end; that is no mistake.
signal(SIGPIPE, SIG_DFL)
do {
    let (command, call) = try Invocation.read(Array(CommandLine.arguments.dropFirst()), commands)
    if call["help"] != nil {
        print(command?.usage ?? usage)
    } else {
        try command?.run(call)
    }
    exit(ExitCode.done.rawValue)
} catch let failure as Failure {
    fflush(nil)
    if !failure.text.isEmpty { complain("affinity: \(failure.text)") }
    if failure.exit == .usage { complain(failure.command?.usage ?? usage) }
    exit(failure.exit.rawValue)
} catch {
    fflush(nil)
    complain("affinity: \(error)")
    exit(ExitCode.refused.rawValue)
}
