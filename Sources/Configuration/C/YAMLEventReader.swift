internal import CYaml

/// A place in a YAML text, counted from 1.
struct YAMLMark: Hashable, Sendable {
    var line: Int
    var column: Int
}

/// Why a text is not YAML, or not the YAML that is understood here.
struct YAMLProblem: Error {
    var message: String
    var mark: YAMLMark
}

/// What libyaml's parser says of a text, piece by piece.
enum YAMLEvent {
    /// `isPlain`: written without quotes and not as a block, so that `null` means nothing and `""` is a text.
    case scalar(String, isPlain: Bool)
    case sequenceStart, sequenceEnd, mappingStart, mappingEnd
    case documentStart, documentEnd
    case end
}

/// libyaml's event parser over bytes that the caller keeps alive.
///
/// Called by `YAMLNode.parse`. Events are used rather than libyaml's own tree, because they allow refusing depth and
/// aliases before anything is built from them.
struct YAMLEventReader: ~Copyable {
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let bytes: UnsafeBufferPointer<UInt8>

    /// - Parameter bytes: must outlive the reader; libyaml copies nothing.
    init(_ bytes: UnsafeBufferPointer<UInt8>) throws(YAMLProblem) {
        parser = .allocate(capacity: 1)
        self.bytes = bytes
        // Fails only without memory, and has then freed what it had.
        guard yaml_parser_initialize(parser) == 1 else {
            parser.deallocate()
            throw YAMLProblem(message: "there is no memory to read it", mark: YAMLMark(line: 1, column: 1))
        }
        // Said outright, because otherwise a byte order mark would make libyaml read UTF-16.
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        // libyaml asserts that the pointer is there, even for no bytes.
        yaml_parser_set_input_string(parser, bytes.baseAddress ?? Self.nothing, bytes.count)
    }

    deinit {
        yaml_parser_delete(parser)
        parser.deallocate()
    }

    private static var nothing: UnsafePointer<UInt8> { UnsafePointer(bitPattern: 1).unsafelyUnwrapped }

    /// The next event and where it begins.
    ///
    /// - Throws: `YAMLProblem` for a syntax error, an anchor, an alias or a tag.
    mutating func next() throws(YAMLProblem) -> (event: YAMLEvent, mark: YAMLMark) {
        while true {
            var event = yaml_event_t()
            guard yaml_parser_parse(parser, &event) == 1 else { throw problem() }
            // The event owns its texts; they are copied out before it goes.
            defer { yaml_event_delete(&event) }
            let mark = Self.mark(event.start_mark)
            switch event.type {
            case YAML_STREAM_START_EVENT: continue
            case YAML_DOCUMENT_START_EVENT: return (.documentStart, mark)
            case YAML_DOCUMENT_END_EVENT: return (.documentEnd, mark)
            case YAML_SCALAR_EVENT:
                let scalar = event.data.scalar
                try Self.refuse(anchor: scalar.anchor, tag: scalar.tag, mark)
                let text = String(
                    decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
                return (.scalar(text, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE), mark)
            case YAML_SEQUENCE_START_EVENT:
                try Self.refuse(anchor: event.data.sequence_start.anchor, tag: event.data.sequence_start.tag, mark)
                return (.sequenceStart, mark)
            case YAML_SEQUENCE_END_EVENT: return (.sequenceEnd, mark)
            case YAML_MAPPING_START_EVENT:
                try Self.refuse(anchor: event.data.mapping_start.anchor, tag: event.data.mapping_start.tag, mark)
                return (.mappingStart, mark)
            case YAML_MAPPING_END_EVENT: return (.mappingEnd, mark)
            case YAML_ALIAS_EVENT:
                throw YAMLProblem(message: "aliases (*name) are not understood here", mark: mark)
            default: return (.end, mark)
            }
        }
    }

    /// Anchors and tags change what a text means somewhere else; a configuration should mean what it says.
    private static func refuse(
        anchor: UnsafeMutablePointer<yaml_char_t>?, tag: UnsafeMutablePointer<yaml_char_t>?, _ mark: YAMLMark
    ) throws(YAMLProblem) {
        if anchor != nil { throw YAMLProblem(message: "anchors (&name) are not understood here", mark: mark) }
        if tag != nil { throw YAMLProblem(message: "tags (!name) are not understood here", mark: mark) }
    }

    private static func mark(_ mark: yaml_mark_t) -> YAMLMark {
        YAMLMark(line: Int(clamping: mark.line) + 1, column: Int(clamping: mark.column) + 1)
    }

    private func problem() -> YAMLProblem {
        var message = parser.pointee.problem.map { String(cString: $0) } ?? "it cannot be read"
        switch parser.pointee.error {
        case YAML_MEMORY_ERROR:
            return YAMLProblem(message: "there is no memory to read it", mark: Self.mark(parser.pointee.mark))
        case YAML_READER_ERROR:
            // The reader knows only the offset of the bad byte.
            return YAMLProblem(message: message, mark: mark(ofByte: Int(clamping: parser.pointee.problem_offset)))
        default:
            if let context = parser.pointee.context {
                message += " \(String(cString: context)) at line \(Self.mark(parser.pointee.context_mark).line)"
            }
            return YAMLProblem(message: message, mark: Self.mark(parser.pointee.problem_mark))
        }
    }

    private func mark(ofByte offset: Int) -> YAMLMark {
        var mark = YAMLMark(line: 1, column: 1)
        for byte in bytes.prefix(offset) {
            if byte == UInt8(ascii: "\n") {
                mark.line += 1
                mark.column = 1
            } else if byte & 0xC0 != 0x80 {
                mark.column += 1
            }
        }
        return mark
    }
}
