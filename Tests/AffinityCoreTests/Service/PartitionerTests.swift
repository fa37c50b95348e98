import Testing

@testable import AffinityCore

@Suite struct PartitionerTests {
    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    @Test(
        arguments: [
            ("21", -973_932_308), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971), ("abc", 479_470_107),
        ] as [(String, Int32)])
    func hashesAsKafkaDoes(_ text: String, _ hash: Int32) {
        #expect(Int32(bitPattern: Partitioner.murmur2(Array(text.utf8))) == hash)
    }

    @Test func aNegativeHashStillFindsAPartition() {
        // Kafka's toPositive clears the sign: -973932308 & 0x7fffffff.
        #expect(Partitioner.partition("21", of: 1000) == (-973_932_308 & 0x7fff_ffff) % 1000)
        #expect(Partitioner.partition("", of: 7) < 7)
    }

    @Test func everyLengthOfTailIsHashed() {
        let hashes = (0...16).map { Partitioner.murmur2(Array("abcdefghijklmnop".utf8.prefix($0))) }
        #expect(Set(hashes).count == hashes.count)
    }

    @Test func integersRouteByAllTheirBytes() {
        #expect(Int32(1).routingBytes == [0, 0, 0, 1])
        #expect(1.routingBytes == [0, 0, 0, 0, 0, 0, 0, 1])
    }
}
