internal import Glibc

/// What the system knows of this process: the metrics that every Prometheus client has. Blocks for as long as the
/// system takes to list open descriptors.
package enum ProcessFacts {
    /// The metrics; those that the system does not say are missing.
    package static var families: [MetricFamily] {
        var families: [MetricFamily] = []
        var usage = rusage()
        if getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
            let seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime)
            families.append(
                .init("process_cpu_seconds_total", .counter, "Processor time, of user and system together.", seconds))
        }
        // Behind the program's name, which may hold anything: state is field 3 of proc(5), so field n is at n - 3.
        let fields = read("/proc/self/stat").split(separator: ")").last?.split(separator: " ") ?? []
        if fields.count > 21, let ticks = Double(fields[19]), let size = Double(fields[20]),
            let pages = Double(fields[21])
        {
            families.append(.init("process_virtual_memory_bytes", .gauge, "Memory that is mapped.", size))
            families.append(
                .init(
                    "process_resident_memory_bytes", .gauge, "Memory that is in use.",
                    pages * Double(sysconf(Int32(_SC_PAGESIZE)))))
            if let boot = bootTime {
                families.append(
                    .init(
                        "process_start_time_seconds", .gauge, "When the process began, in seconds since 1970.",
                        boot + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))))
            }
        }
        if let open = openDescriptors {
            families.append(.init("process_open_fds", .gauge, "Descriptors that are open.", Double(open)))
        }
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
            families.append(
                .init("process_max_fds", .gauge, "Descriptors that may be open.", Double(limit.rlim_cur)))
        }
        return families
    }

    private static func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }

    /// In seconds since 1970.
    private static var bootTime: Double? {
        let line = read("/proc/stat").split(separator: "\n").first { $0.hasPrefix("btime ") }
        return line.flatMap { Double($0.dropFirst(6)) }
    }

    private static var openDescriptors: Int? {
        guard let folder = opendir("/proc/self/fd") else { return nil }
        defer { closedir(folder) }
        var count = 0
        while let entry = readdir(folder) { count += entry.pointee.d_name.0 == CChar(UInt8(ascii: ".")) ? 0 : 1 }
        // The one that lists them is no longer open then.
        return count - 1
    }

    /// A file of the system's, or as much of it as matters here; empty if it cannot be read.
    private static func read(_ path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while text.count < 1 << 20, case let count = Glibc.read(descriptor, &buffer, buffer.count), count > 0 {
            text += buffer.prefix(count)
        }
        return String(decoding: text, as: UTF8.self)
    }
}
