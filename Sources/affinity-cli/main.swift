import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

// `affinity`: says to a cluster what operators want of it, through the `admin` listener of any of its nodes.

func complain(_ text: String, _ code: Int32) -> Never {
    FileHandle.standardError.write(Data((text + "\n").utf8))
    exit(code)
}

guard let line = CommandLineWords(Array(CommandLine.arguments.dropFirst())) else { complain(usage, 64) }
if line.wantsHelp {
    print(usage)
    exit(0)
}
let base = line.admin ?? ProcessInfo.processInfo.environment["AFFINITY_ADMIN"] ?? "http://127.0.0.1:8079"
guard let call = Call(line.words) else { complain(usage, 64) }
guard let request = call.request(to: base) else {
    complain("affinity: \(base) is no address like http://127.0.0.1:8079", 64)
}
do {
    let (data, response) = try await URLSession.shared.data(for: request)
    let status = (response as? HTTPURLResponse)?.statusCode ?? 0
    guard (200..<300).contains(status) else { complain("affinity: \(status): \(problem(data))", 1) }
    print(try line.wantsJSON ? json(data) : call.text(data))
} catch let error as URLError {
    complain("affinity: \(base) does not answer: \(error.localizedDescription)", 1)
} catch {
    complain("affinity: what \(base) answers cannot be read: is it an admin listener?", 1)
}
