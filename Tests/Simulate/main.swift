import AffinityCore
import AffinitySimulation
import AffinityTesting
import Foundation

var seeds: UInt64 = 100
var from: UInt64 = 1
var isTraced = false
var arguments = Array(CommandLine.arguments.dropFirst())
while let option = arguments.first {
    arguments.removeFirst()
    switch option {
    case "--seeds": seeds = UInt64(arguments.removeFirst())!
    case "--from": from = UInt64(arguments.removeFirst())!
    case "--trace": isTraced = true
    default: print("?"); exit(64)
    }
}
var tally = Run.Tally()
let begin = ContinuousClock.now
for seed in from..<(from + seeds) {
    let run = try Run(Plan(seed: seed), trace: isTraced ? { print($0) } : nil)
    run.run()
    tally += run.tally
    if let violation = run.violation { print("seed \(seed): \(violation)") }
    if isTraced { print("digest \(run.digest)") }
}
print("\(tally) in \(ContinuousClock.now - begin)")
