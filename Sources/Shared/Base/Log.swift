internal import Glibc

/// The log: one line an event, `level event key=value …`, to standard error (the journal under systemd).
///
/// Values are escaped byte by byte, so nothing from outside can begin a line or a field. A `Secret` has no way in.
public struct Log: Sendable {
    /// The levels, with systemd's priorities (sd-daemon(3)).
    public enum Level: String, Sendable {
        case debug, info, warning, error
        var priority: UInt8 {
            switch self {
            case .debug: 0x37
            case .info: 0x36
            case .warning: 0x34
            case .error: 0x33
            }
        }
    }

    /// One field's value, made from what may be logged.
    public enum Field: Sendable, ExpressibleByStringLiteral, ExpressibleByStringInterpolation,
        ExpressibleByIntegerLiteral
    {
        case text(String), bytes(Bytes), integer(Int)
        public init(stringLiteral value: String) { self = .text(value) }
        public init(integerLiteral value: Int) { self = .integer(value) }
    }

    private let write: @Sendable ([UInt8]) -> Void
    private let journal: Bool
    private var minimum = Level.debug
    private var observer: (@Sendable (ErrorEvent) -> Void)?

    /// A line of the level `error`, as it is handed to an observer: what the line says, and nothing else.
    public struct ErrorEvent: Sendable {
        public let event: Bytes
        public let fields: [(name: Bytes, value: Bytes)]
    }

    /// A log whose lines go to `write`, each ending in LF. `journal` puts sd-daemon's `<N>` before each.
    public init(journal: Bool = false, write: @escaping @Sendable ([UInt8]) -> Void) {
        self.write = write
        self.journal = journal
    }

    /// Standard error; one write(2) a line, so that lines of several threads never mix.
    public static let standardError = Log(journal: getenv("JOURNAL_STREAM") != nil) { line in
        line.withUnsafeBytes { _ = Glibc.write(2, $0.baseAddress, $0.count) }
    }

    /// The same log without what is less important than `level`.
    public func atLeast(_ level: Level) -> Log {
        var log = self
        log.minimum = level
        return log
    }

    /// The same log, which also tells `observer` of each error. It is called on the thread that logs: it must not
    /// block, nor log an error itself.
    public func observed(by observer: @escaping @Sendable (ErrorEvent) -> Void) -> Log {
        var log = self
        log.observer = observer
        return log
    }

    /// Drops everything: for tools whose output is for people.
    public static let silent = Log { _ in }

    public func info(_ event: StaticString, _ fields: KeyValuePairs<StaticString, Field> = [:]) {
        line(.info, event, fields)
    }
    public func warning(_ event: StaticString, _ fields: KeyValuePairs<StaticString, Field> = [:]) {
        line(.warning, event, fields)
    }
    public func error(_ event: StaticString, _ fields: KeyValuePairs<StaticString, Field> = [:]) {
        line(.error, event, fields)
    }

    public func line(_ level: Level, _ event: StaticString, _ fields: KeyValuePairs<StaticString, Field>) {
        // syslog's priorities: the smaller the number, the more important.
        guard level.priority <= minimum.priority else { return }
        if level == .error, let observer { observer(Self.errorEvent(event, fields)) }
        var out: [UInt8] = []
        out.reserveCapacity(160)
        if journal { out.append(contentsOf: [0x3C, level.priority, 0x3E]) }
        out.append(contentsOf: level.rawValue.utf8)
        out.append(0x20)
        event.withUTF8Buffer { out.append(contentsOf: $0) }
        for (key, value) in fields {
            out.append(0x20)
            key.withUTF8Buffer { out.append(contentsOf: $0) }
            out.append(0x3D)
            switch value {
            case .integer(let number): out.append(contentsOf: String(number).utf8)
            case .text(let text): Self.append(text.utf8, to: &out)
            case .bytes(let bytes): Self.append(bytes, to: &out)
            }
        }
        out.append(0x0A)
        write(out)
    }

    private static func errorEvent(_ event: StaticString, _ fields: KeyValuePairs<StaticString, Field>) -> ErrorEvent {
        ErrorEvent(
            event: Bytes(stringLiteral: event),
            fields: fields.map { key, value in
                let bytes: Bytes
                switch value {
                case .integer(let number): bytes = Bytes(String(number))
                case .text(let text): bytes = Bytes(text)
                case .bytes(let given): bytes = given
                }
                return (Bytes(stringLiteral: key), bytes.upTo(valueSizeMax))
            })
    }

    /// The longest value that a line keeps; the rest is cut and marked.
    public static let valueSizeMax = 2_048

    /// A value as it is when it is plain, else quoted with every other byte as `\xNN`.
    private static func append(_ value: some Collection<UInt8>, to out: inout [UInt8]) {
        let plain = !value.isEmpty && value.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }
        if plain, value.count <= valueSizeMax {
            out.append(contentsOf: value)
            return
        }
        out.append(0x22)
        for byte in value.prefix(valueSizeMax) {
            switch byte {
            case 0x22, 0x5C: out.append(contentsOf: [0x5C, byte])
            case 0x20..<0x7F: out.append(byte)
            default:
                out.append(contentsOf: [0x5C, 0x78])
                out.append(contentsOf: Hex.encode(CollectionOfOne(byte)))
            }
        }
        if value.count > valueSizeMax { out.append(contentsOf: "…".utf8) }
        out.append(0x22)
    }
}
