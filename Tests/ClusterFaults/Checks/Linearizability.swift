/// Whether what clients have seen of a key is what one of them could have seen alone.
enum Linearizability {
    static func check(_ history: History, _ complaints: Complaints) {}
}
